/* verifier.verify: all proofs of an incoming message (journey step 7). The proofs are pure (libcommon/trust): they run
 * on the answers known so far, what they still ask for is fetched all at once, and they run again, until nothing is
 * missing or a bound is met. */
#include <sodium.h>
#include <stdlib.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
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
    bool late;     /* the time is up: what is not known by now is taken as failed */
    bool answered; /* it timed out: freed when the last lookup comes in */
};

static void verify_free(struct verify *v) {
    lookup_destroy(v->lookup);
    event_free(v->timeout);
    arena_destroy(v->arena);
    free(v);
}

static void answer(struct verify *v, json_t *reply) {
    v->answered = true;
    event_del(v->timeout);
    bus_answer(v->call, reply);
    verifier_end(v->verifier);
}

static void answer_tempfail(struct verify *v, const char *reason) {
    metric_add(&unsure, 1);
    answer(v, json_pack("{s:s,s:i,s:s,s:s,s:s,s:[],s:n,s:[],s:n,s:n,s:n}", "disposition", "tempfail", "code", 451,
                        "enhanced", "4.7.0", "reason", reason, "headers", "", "drop", "spf", "dkim", "dmarc", "arc",
                        "iprev"));
}

/* The proofs' door to DNS. What the resolver knows they have at once, so that with a warm cache one round is enough;
 * what it does not know is noted in the lookup, to be fetched before the next round. */
static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    static const struct trust_answer late = {.status = TRUST_DNS_FAILED, .late = true};
    struct verify *v = ctx;
    const struct answer *a = lookup_ask(v->lookup, name, type, &v->too_many);
    if (a) return lookup_as_proofs_take_it(v->arena, a);
    return v->late ? &late : NULL;
}

static void answer_result(struct verify *v, const struct trust_result *r) {
    struct buf headers = {0};
    json_t *drop = json_array(), *reply = trust_result_json(r, v->input.explain);
    trust_write_headers(&v->input, r, &headers);
    for (size_t i = 0; i < r->drop_count; i++)
        json_array_append_new(drop, json_pack("[I,I]", (json_int_t)r->drops[i].offset, (json_int_t)r->drops[i].n));
    json_t *text = json_stringn(headers.data, headers.n);
    json_object_set_new(reply, "disposition", json_string(trust_disposition_text(r->disposition)));
    json_object_set_new(reply, "code",
                        json_integer(r->disposition == TRUST_REJECT     ? 550
                                     : r->disposition == TRUST_TEMPFAIL ? 451
                                                                        : 0));
    json_object_set_new(reply, "enhanced", json_string(r->enhanced));
    json_object_set_new(reply, "reason", json_string(r->reason));
    json_object_set_new(reply, "headers", text ? text : json_string(""));
    json_object_set_new(reply, "drop", drop);
    buf_free(&headers);
    metric_add(&verified, 1);
    if (r->disposition == TRUST_REJECT) metric_add(&rejected, 1);
    if (r->disposition == TRUST_TEMPFAIL) metric_add(&unsure, 1);
    answer(v, reply);
}

static void run(void *ctx) {
    struct verify *v = ctx;
    struct trust_dns dns = {look_up, v};
    struct trust_result result;
    if (v->answered) { /* it had timed out; this was the last lookup */
        verify_free(v);
        return;
    }
    while (trust_verify(v->arena, &v->input, &dns, v->verifier->trust_keys, &result) == TRUST_PENDING) {
        if (v->too_many || ++v->rounds > VERIFY_ROUNDS_MAX) {
            answer_tempfail(v, "verifying this sender asks for more DNS than is allowed");
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
    v->late = true; /* each proof says what that means to it: temperror of SPF (RFC 7208 §4.6.4); the message waits only
                       where it could matter */
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

/* Reads body_hashes: false when one is malformed. */
static bool take_digests(struct arena *arena, const json_t *list, struct trust_input *input) {
    size_t i, n = 0;
    const json_t *each;
    struct body_digest *digests = arena_alloc(arena, BODY_HASHES_MAX * sizeof *digests);
    json_array_foreach((json_t *)(uintptr_t)list, i, each) {
        struct slice digest;
        const json_t *length = json_object_get(each, "length"), *hashed = json_object_get(each, "hashed");
        if (n == BODY_HASHES_MAX) break;
        if (ask_bytes(arena, each, "hash_b64", &digest) != 0 || digest.n != BODY_HASH_BYTES) return false;
        struct body_digest *d = &digests[n++];
        d->kind = (struct body_hash_kind){slice_is(ask_text(each, "canon"), "relaxed"),
                                          json_is_integer(length) ? json_integer_value(length) : -1};
        d->hashed = json_is_integer(hashed) ? (uint64_t)json_integer_value(hashed) : UINT64_MAX;
        memcpy(d->digest, digest.p, BODY_HASH_BYTES);
    }
    input->digests = digests;
    input->digest_count = n;
    return true;
}

static void on_verify(void *ctx, struct bus_call *call, const json_t *ask) {
    struct verifier *verifier = ctx;
    if (!verifier_begin(verifier, call)) return;
    struct arena *arena = arena_create();
    struct trust_input input = {.client_ip = arena_slice(arena, ask_text(ask, "client_ip")),
                                .helo = arena_slice(arena, ask_text(ask, "helo")),
                                .mail_from = arena_slice(arena, ask_text(ask, "mail_from")),
                                .smtputf8 = json_is_true(json_object_get(ask, "smtputf8"))};
    if (ask_bytes(arena, ask, "header_b64", &input.header) != 0 ||
        !take_digests(arena, json_object_get(ask, "body_hashes"), &input)) {
        bus_refuse(call, "invalid", "header_b64 or a body hash is missing or not base 64");
        verifier_end(verifier);
        arena_destroy(arena);
        return;
    }
    verify_start(verifier, call, arena, &input);
}

void verify_serve(struct verifier *v) { bus_serve(v->worker->bus, "verify", on_verify, v); }
