/* A growing set of DNS questions of one request and their answers: add what is needed, run, look at the answers, add
 * more. All are asked in parallel. */
#ifndef POSTBUS_VERIFIER_LOOKUP_H
#define POSTBUS_VERIFIER_LOOKUP_H

#include "libcommon/trust/dns.h"
#include "services/verifier/dns/resolver.h"

struct lookup;

typedef void lookup_fn(void *ctx);
/* arena: holds the answers, and must outlive the lookup. */
struct lookup *lookup_create(struct resolver *r, struct arena *arena, size_t questions_max, lookup_fn *done, void *ctx);
/* Nothing may be running. */
void lookup_destroy(struct lookup *l);
/* Adds a question unless it is there; false when there are questions_max already. */
bool lookup_add(struct lookup *l, struct slice name, int type);
/* The answer at once, when it was given before or the resolver knows it already; else NULL, and the question is added:
 * *full is set when there are questions_max of them already, and left alone otherwise. */
const struct answer *lookup_ask(struct lookup *l, struct slice name, int type, bool *full);
/* Asks what has no answer yet. true: all is answered now; false: done will be called, once. */
bool lookup_run(struct lookup *l);
/* The answer, of the arena; NULL when it was not added or is not known yet. */
const struct answer *lookup_answer(const struct lookup *l, struct slice name, int type);
/* An answer in the form that the proofs take (libcommon/trust/dns.h); its records point into a's. */
const struct trust_answer *lookup_as_proofs_take_it(struct arena *arena, const struct answer *a);
/* The number of questions so far. */
size_t lookup_count(const struct lookup *l);

#endif
