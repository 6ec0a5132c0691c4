/* Shared declarations of the files that implement trust.h; private to them. */
#ifndef POSTBUS_TRUST_TRUST_PRIVATE_H
#define POSTBUS_TRUST_TRUST_PRIVATE_H

#include "libcommon/mail/header.h"
#include "libcommon/trust/verdict/trust.h"

enum { TRUST_AUTHORS_MAX = 5 };

/* The distinct author domains, as A-labels in lower case. */
struct trust_authors {
    size_t fields; /* From fields */
    size_t count;
    struct slice domains[TRUST_AUTHORS_MAX];
    bool malformed; /* an address has an invalid domain */
    bool too_many;  /* domains, fields or bytes: not all were read */
};
void trust_find_authors(struct arena *arena, struct slice header, struct trust_authors *out);

/* DMARC for every author; the worst verdict applies (RFC 9989 §11.5). TRUST_PENDING as
 * elsewhere. */
int trust_check_authors(struct arena *arena, const struct trust_input *in, const struct trust_dns *dns,
                        struct trust_result *out);

/* The client's name, if one of its PTR names resolves to its address (RFC 8601 §3). TRUST_PENDING
 * as elsewhere. */
int iprev_check(struct arena *arena, const struct trust_input *in, const struct trust_dns *dns,
                struct trust_result *out);
const char *iprev_text(const struct trust_result *r);

/* Decides about the message: disposition, code, text, overrides. */
void trust_decide(struct arena *arena, const struct trust_input *in, struct trust_result *out);
/* Whether trusted sealers authenticate the author (RFC 8617 §7.2): the override's comment (§7.2.2),
 * or NULL. */
const char *trust_chain_vouches(struct arena *arena, const struct trust_input *in, const struct trust_result *r);

/* Finds received fields that claim to be results of this site; they will be removed (RFC 8601 §5,
 * §4.1). */
void results_find_foreign(struct arena *arena, const struct trust_input *in, struct trust_result *out);

#endif
