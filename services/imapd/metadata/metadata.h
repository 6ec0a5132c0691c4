/* Annotations: the syntax of GETMETADATA, SETMETADATA and LIST RETURN (METADATA …), and the METADATA
 * response (RFC 5464, RFC 9590). */
#ifndef POSTBUS_IMAPD_METADATA_H
#define POSTBUS_IMAPD_METADATA_H

#include "libcommon/store/mailbox/mailbox_metadata.h"
#include "services/imapd/imapd.h"

/* /private/specialuse is the folder's special use (RFC 6154 §4), and /shared/admin of the server a
 * mailto: URI (RFC 5464 §6.2.2); neither is kept with the others. */
#define METADATA_SPECIALUSE "/private/specialuse"
#define METADATA_ADMIN "/shared/admin"

struct metadata_names {
    size_t count;
    struct slice names[LIMIT_METADATA_NAMES];
};
/* entry, or "(" entry *(SP entry) ")" (RFC 5464 §5); in lower case, in the arena. False: bad syntax,
 * an invalid name (§3.2), or more than LIMIT_METADATA_NAMES. Pure. */
bool metadata_parse_names(struct parser *p, struct metadata_names *names);
/* entry: its name as above. Pure. */
bool metadata_parse_name(struct parser *p, struct slice *name);
/* nstring / literal8. Pure. */
bool metadata_parse_value(struct parser *p, struct slice *value, bool *nil);
/* Whether the annotation is of the same value for all users. */
bool metadata_is_shared(struct slice name);

/* The value of one that is computed. False: it is not one of them. The value is in the arena. */
bool metadata_computed(struct session *s, const struct mailbox_folder *folder, struct slice name, struct slice *value);

/* A METADATA response: first "* METADATA name (", then entry and value of each, then ")". Nothing is
 * written without an entry. */
struct metadata_writer {
    struct session *s;
    struct slice mailbox;
    bool any;
};
/* p NULL: NIL */
void metadata_write(struct metadata_writer *w, struct slice name, struct slice value);
void metadata_write_end(struct metadata_writer *w);

#endif
