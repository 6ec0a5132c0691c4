/* A growing set of the DNS questions of one request and their answers: add questions, run, read the
 * answers, add more. All are sent in parallel. */
#ifndef POSTBUS_VERIFIER_LOOKUP_H
#define POSTBUS_VERIFIER_LOOKUP_H

#include "libcommon/trust/dns.h"
#include "services/verifier/dns/resolver.h"

struct lookup;

typedef void lookup_fn(void *ctx);
/* arena: has the answers, and must outlive the lookup. */
struct lookup *lookup_create(struct resolver *r, struct arena *arena, size_t questions_max, lookup_fn *done, void *ctx);
/* No question may be running. */
void lookup_destroy(struct lookup *l);
/* Adds a question unless it exists; false when there are questions_max already. */
bool lookup_add(struct lookup *l, struct slice name, int type);
/* The answer, if it arrived before or the resolver knows it; otherwise NULL, and the question is
 * added. *full is set when there are questions_max already, and unchanged otherwise. */
const struct answer *lookup_ask(struct lookup *l, struct slice name, int type, bool *full);
/* Sends the questions without an answer. true: all are answered now; false: done will be called,
 * once. */
bool lookup_run(struct lookup *l);
/* The answer, in the arena; NULL when the question was not added or has no answer yet. */
const struct answer *lookup_answer(const struct lookup *l, struct slice name, int type);
/* An answer in the form of libcommon/trust/dns.h; its records point into those of a. */
const struct trust_answer *lookup_as_proofs_take_it(struct arena *arena, const struct answer *a);
/* The number of questions so far. */
size_t lookup_count(const struct lookup *l);

#endif
