/* verifier.prefetch: what the verification of a message will need of DNS is asked for while the
 * message is still on its way: the SPF records of both identities with what they include, the
 * client's reverse name, and the DMARC record of the MAIL FROM domain, which is the author's domain
 * of most messages. It is a verification without a message, whose result nobody gets: its answers
 * are in the worker's cache when verifier.verify comes, or on their way.
 *
 * The answer is given at once, and names this worker: another worker has another cache. A prefetch
 * that begins while the worker is busy, or that finds one of its bounds, ends: nothing depends on
 * it. */
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/ulid.h"
#include "libcommon/codec/verify.h"
#include "libcommon/mail/domain.h"
#include "services/verifier/dns/lookup.h"
#include "services/verifier/verifier.h"

static struct metric finished =
    METRIC_COUNTER("postbus_verifier_prefetches_total", "Senders whose DNS records were asked for before the message");

struct prefetch {
    struct verifier *verifier;
    struct arena *arena;
    struct lookup *lookup;
    struct trust_input input;
    int rounds;
    bool full; /* no more questions */
};

static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    struct prefetch *p = ctx;
    const struct answer *a = lookup_ask(p->lookup, name, type, &p->full);
    return a ? lookup_as_proofs_take_it(p->arena, a) : NULL;
}

static void run(void *ctx) {
    struct prefetch *p = ctx;
    struct verifier *v = p->verifier;
    struct trust_dns dns = {look_up, p};
    struct trust_result result;
    while (!v->draining && !p->full && p->rounds++ < PREFETCH_ROUNDS_MAX &&
           trust_verify(p->arena, &p->input, &dns, v->trust_keys, &result) == TRUST_PENDING)
        if (!lookup_run(p->lookup)) return; /* run() is called again */
    metric_add(&finished, 1);
    lookup_destroy(p->lookup);
    arena_destroy(p->arena);
    free(p);
    verifier_end(v);
}

/* The header of a message whose author is the sender; empty: there is none. */
static struct slice header_of(struct arena *arena, struct slice mail_from) {
    char domain[DOMAIN_BYTES];
    ptrdiff_t at = slice_find_last(mail_from, '@');
    if (at < 0 || domain_normalise(slice_skip(mail_from, (size_t)at + 1), domain) != 0) return SLICE("");
    return slice_of(arena_printf(arena, "From: <prefetch@%s>\r\n", domain));
}

static void begin(struct verifier *v, struct arena *arena, const struct prefetch_ask *ask) {
    struct prefetch *p = memory_alloc(sizeof *p);
    *p = (struct prefetch){.verifier = v, .arena = arena};
    p->lookup = lookup_create(v->resolver, arena, PREFETCH_QUESTIONS_MAX, run, p);
    p->input = (struct trust_input){.client_ip = ask->client_ip,
                                    .helo = ask->helo,
                                    .mail_from = ask->mail_from,
                                    .header = header_of(arena, ask->mail_from),
                                    .authserv_id = slice_of(v->worker->hostname),
                                    .now = clock_wall_ms() / 1000,
                                    .policy = v->policy};
    v->requests++;
    run(p);
}

static void on_prefetch(void *ctx, struct bus_call *call, struct slice text) {
    struct verifier *v = ctx;
    struct arena *arena = arena_create();
    struct prefetch_ask ask;
    struct buf reply = {0};
    const char *fault = prefetch_ask_read(arena, text, &ask);
    if (fault || v->draining || v->requests >= PREFETCH_REQUESTS_MAX) {
        bus_refuse(call, fault ? "invalid" : "busy", fault ? fault : "too many requests in flight");
        arena_destroy(arena);
        return;
    }
    prefetch_reply_write(slice_of(v->at), &reply);
    bus_answer_text(call, buf_slice(&reply));
    buf_free(&reply);
    begin(v, arena, &ask);
}

void prefetch_serve(struct verifier *v) {
    ulid_create(v->at);
    bus_serve_text(v->worker->bus, "prefetch", on_prefetch, v);
}
