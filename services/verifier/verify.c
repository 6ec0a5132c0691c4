/* verifier.verify: the verification of an incoming message (journey step 7). The verification
 * functions are pure (libcommon/trust): they run on the DNS answers that are known so far; the
 * answers that they request are fetched all at once, and they run again, until no answer is missing
 * or a bound is reached. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/verify.h"
#include "libcommon/trust/verdict/trust.h"
#include "services/verifier/dns/lookup.h"
#include "services/verifier/verifier.h"

static struct metric verified = METRIC_COUNTER("postbus_verifier_verifications_total", "Messages verified");
static struct metric rejected =
    METRIC_COUNTER("postbus_verifier_rejections_total", "Messages whose senders' policy rejects them");
static struct metric unsure =
    METRIC_COUNTER("postbus_verifier_tempfails_total", "Messages that could not be verified for lack of DNS answers");

struct verify {
    struct verifier *verifier;
    struct bus_call *call;
    struct arena *arena;
    struct lookup *lookup;
    struct event *timeout;
    struct trust_input input;
    int rounds;
    bool too_many; /* questions */
    bool late;     /* the time limit has expired: unknown answers count as failed */
    bool answered; /* it timed out, and is freed when the last lookup ends */
};

static void verify_free(struct verify *v) {
    lookup_destroy(v->lookup);
    event_free(v->timeout);
    arena_destroy(v->arena);
    free(v);
}

static void answer(struct verify *v, const struct buf *reply) {
    v->answered = true;
    event_del(v->timeout);
    bus_answer_text(v->call, buf_slice(reply));
    verifier_end(v->verifier);
}

static void put_outcome(struct json_put *j, const char *disposition, int code, const char *enhanced, const char *reason,
                        struct slice headers) {
    json_put_object(j, NULL);
    json_put_word(j, "disposition", disposition);
    json_put_integer(j, "code", code);
    json_put_word(j, "enhanced", enhanced);
    json_put_foreign(j, "reason", slice_of(reason));
    json_put_text(j, "headers", headers);
    json_put_array(j, "drop");
}

static void answer_tempfail(struct verify *v, const char *reason) {
    static const char *const unknown[] = {"spf", "dmarc", "arc", "iprev"};
    struct buf reply = {0};
    struct json_put j = json_put_begin(&reply);
    put_outcome(&j, "tempfail", 451, "4.7.0", reason, SLICE(""));
    json_put_end(&j, ']');
    json_put_array(&j, "dkim");
    json_put_end(&j, ']');
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) json_put_null(&j, unknown[i]);
    json_put_end(&j, '}');
    metric_add(&unsure, 1);
    answer(v, &reply);
    buf_free(&reply);
}

/* DNS for the verification functions. Answers in the resolver's cache are returned at once, so that
 * one round is enough with a warm cache; other questions are added to the lookup, which fetches
 * them before the next round. */
static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    static const struct trust_answer late = {.status = TRUST_DNS_FAILED, .late = true};
    struct verify *v = ctx;
    const struct answer *a = lookup_ask(v->lookup, name, type, &v->too_many);
    if (a) return lookup_as_proofs_take_it(v->arena, a);
    return v->late ? &late : NULL;
}

static void answer_result(struct verify *v, const struct trust_result *r) {
    struct buf headers = {0}, reply = {0};
    struct json_put j = json_put_begin(&reply);
    int code = r->disposition == TRUST_REJECT ? 550 : r->disposition == TRUST_TEMPFAIL ? 451 : 0;
    trust_write_headers(&v->input, r, &headers);
    put_outcome(&j, trust_disposition_text(r->disposition), code, r->enhanced, r->reason, buf_slice(&headers));
    for (size_t i = 0; i < r->drop_count; i++) {
        json_put_array(&j, NULL);
        json_put_integer(&j, NULL, (int64_t)r->drops[i].offset);
        json_put_integer(&j, NULL, (int64_t)r->drops[i].n);
        json_put_end(&j, ']');
    }
    json_put_end(&j, ']');
    trust_result_put(r, v->input.explain, &j);
    json_put_end(&j, '}');
    metric_add(&verified, 1);
    if (r->disposition == TRUST_REJECT) metric_add(&rejected, 1);
    if (r->disposition == TRUST_TEMPFAIL) metric_add(&unsure, 1);
    answer(v, &reply);
    buf_free(&headers);
    buf_free(&reply);
}

static void run(void *ctx) {
    struct verify *v = ctx;
    struct trust_dns dns = {look_up, v};
    struct trust_result result;
    if (v->answered) { /* it timed out before; this was the last lookup */
        verify_free(v);
        return;
    }
    while (trust_verify(v->arena, &v->input, &dns, v->verifier->trust_keys, &result) == TRUST_PENDING) {
        if (v->too_many || ++v->rounds > VERIFY_ROUNDS_MAX) {
            answer_tempfail(v, "verifying this sender needs more DNS queries than are allowed");
            verify_free(v);
            return;
        }
        if (!lookup_run(v->lookup)) return; /* run() is called again */
    }
    answer_result(v, &result);
    verify_free(v);
}

static void on_timeout(evutil_socket_t fd, short what, void *ctx) {
    struct verify *v = ctx;
    struct trust_dns dns = {look_up, v};
    struct trust_result result;
    (void)fd, (void)what;
    v->late = true; /* each function handles this itself: SPF gives temperror (RFC 7208 §4.6.4); the
                       message is deferred only if the result could matter */
    if (trust_verify(v->arena, &v->input, &dns, v->verifier->trust_keys, &result) == TRUST_DONE)
        answer_result(v, &result);
    else
        answer_tempfail(v, "DNS did not answer in time; try again");
}

void verify_start(struct verifier *verifier, struct bus_call *call, struct arena *arena,
                  const struct trust_input *input) {
    struct verify *v = memory_alloc(sizeof *v);
    v->verifier = verifier;
    v->call = call;
    v->arena = arena;
    v->lookup = lookup_create(verifier->resolver, arena, VERIFY_QUESTIONS_MAX, run, v);
    v->timeout = evtimer_new(verifier->worker->base, on_timeout, v);
    v->input = *input;
    v->input.authserv_id = slice_of(verifier->worker->hostname);
    v->input.now = clock_wall_ms() / 1000;
    v->input.sampled = (int)randombytes_uniform(100);
    v->input.policy = verifier->policy;
    struct timeval wait = {VERIFY_TIMEOUT_MS / 1000, VERIFY_TIMEOUT_MS % 1000 * 1000};
    event_add(v->timeout, &wait);
    run(v);
}

static void take_digests(struct arena *arena, const struct verify_ask *ask, struct trust_input *input) {
    struct body_digest *digests = arena_alloc(arena, (ask->hash_count + 1) * sizeof *digests);
    for (size_t i = 0; i < ask->hash_count; i++) {
        const struct verify_hash *h = &ask->hashes[i];
        digests[i].kind = (struct body_hash_kind){h->relaxed, h->length};
        digests[i].hashed = h->hashed >= 0 ? (uint64_t)h->hashed : UINT64_MAX;
        memcpy(digests[i].digest, h->digest.p, BODY_HASH_BYTES);
    }
    input->digests = digests;
    input->digest_count = ask->hash_count;
}

static void on_verify(void *ctx, struct bus_call *call, struct slice text) {
    struct verifier *verifier = ctx;
    struct verify_ask ask;
    if (!verifier_begin(verifier, call)) return;
    struct arena *arena = arena_create();
    const char *fault = verify_ask_read(arena, text, &ask);
    if (fault) {
        bus_refuse(call, "invalid", fault);
        verifier_end(verifier);
        arena_destroy(arena);
        return;
    }
    struct trust_input input = {.client_ip = ask.client_ip,
                                .helo = ask.helo,
                                .mail_from = ask.mail_from,
                                .smtputf8 = ask.smtputf8,
                                .header = ask.header};
    take_digests(arena, &ask, &input);
    verify_start(verifier, call, arena, &input);
}

void verify_serve(struct verifier *v) {
    char verb[ULID_BYTES + 16];
    snprintf(verb, sizeof verb, "at.%s.verify", v->at);
    bus_serve_text(v->worker->bus, "verify", on_verify, v);
    bus_serve_text(v->worker->bus, verb, on_verify,
                   v); /* for messages that were announced to this worker (prefetch.c) */
}
