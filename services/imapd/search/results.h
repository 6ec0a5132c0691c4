/* What a SEARCH or SORT returns (RFC 4731, RFC 5182, RFC 5267 §3, RFC 9394 §3.1, RFC 9051 §6.4.4). */
#ifndef POSTBUS_IMAPD_RESULTS_H
#define POSTBUS_IMAPD_RESULTS_H

#include "services/imapd/search/search_run.h"
#include "services/imapd/syntax/partial.h"

struct result_options {
    bool extended; /* the answer is an ESEARCH response */
    bool min, max, count, all, save;
    bool update; /* changes are told (RFC 5267 §4.3); "CONTEXT" is only a hint (§4.2) */
    bool has_partial;
    struct partial_range partial;
};

/* After "RETURN": " (MIN COUNT …)". NULL, or the reason of a BAD. */
const char *result_options_parse(struct parser *p, struct result_options *o);
/* Adds what IMAP4rev2 and an empty list imply (RFC 9051 §6.4.4, RFC 4731 §3.1). */
void result_options_complete(struct session *s, struct result_options *o);

/* Writes an ESEARCH response about `count` uids in their order of the answer; none when SAVE is the
 * only option (RFC 5182 §2.1). */
void results_write(struct session *s, const struct result_options *o, const struct search_run *run, size_t count,
                   const uint32_t uids[]);
/* Sets "$" (RFC 5182 §2.1, RFC 9394 §3.2). */
void results_save(struct session *s, const struct result_options *o, size_t count, const uint32_t uids[]);
/* "$" of a search that failed: nothing (RFC 5182 §2.1). */
void results_save_nothing(struct session *s, const struct result_options *o);

/* A uid, or its sequence number, as the command asks for. */
uint32_t result_number(struct session *s, uint32_t uid);

#endif
