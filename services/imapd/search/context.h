/* Searches whose client is told of each change of their results: the UPDATE option of SEARCH and SORT
 * (RFC 5267 §4.3). A context knows the uids that its client knows as the result. When the client has
 * been told of changes of the folder, the changed messages alone are searched again (as a struct follower). */
#ifndef POSTBUS_IMAPD_CONTEXT_H
#define POSTBUS_IMAPD_CONTEXT_H

#include "services/imapd/order/sort_key.h"
#include "services/imapd/search/results.h"

/* Of a session: a list of them, until another mailbox is selected. */
struct context;

/* Whether there is one with the tag of the running command: BAD (§4.3). */
bool context_tag_is_used(const struct session *s);
/* After a search that has found these uids: begins to tell changes, or tells that it will not
 * (NOUPDATE, §4.3.1). keys: the bytes of the search keys, of which it keeps a copy. program NULL: the
 * uids are in mailbox order; otherwise entries has the values of the uids, in arena, which it takes. */
void context_begin(struct session *s, struct slice keys, size_t count, const uint32_t uids[],
                   const struct sort_program *program, const struct sort_entry entries[], struct arena *arena);

#endif
