/* verifier.sign: DKIM signatures for an outgoing message, with each active key of its domain (RSA
 * and Ed25519, RFC 8463 §3). RSA signing is done on the pool. */
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/verify.h"
#include "libcommon/mail/domain.h"
#include "libcommon/trust/dkim/dkim.h"
#include "services/verifier/keys/keys.h"
#include "services/verifier/verifier.h"

static struct metric signed_messages = METRIC_COUNTER("postbus_verifier_signatures_total", "Messages signed");

struct sign {
    struct verifier *verifier;
    struct bus_call *call;
    struct arena *arena;
    struct slice header, body_hash;
    char domain[DOMAIN_BYTES];
    struct domain_keys *keys;
    struct buf fields;
    bool failed;
};

static void sign_end(struct sign *s) {
    verifier_end(s->verifier);
    buf_free(&s->fields);
    arena_destroy(s->arena);
    free(s);
}

static void refuse(struct sign *s, const char *code, const char *message) {
    bus_refuse(s->call, code, message);
    sign_end(s);
}

static void make_signatures(void *job) { /* on a pool thread */
    struct sign *s = job;
    int64_t now = clock_wall_ms() / 1000;
    for (size_t i = 0; i < s->keys->count; i++) {
        const struct signing_key *key = &s->keys->keys[i];
        if (key->private_key && dkim_sign(s->header, (const unsigned char *)s->body_hash.p, slice_of(s->domain),
                                          slice_of(key->selector), key->private_key, now, &s->fields) != 0)
            s->failed = true;
    }
}

static void signatures_made(void *job) {
    struct sign *s = job;
    domain_keys_release(s->keys);
    if (s->failed) {
        log_error("a DKIM key cannot sign", "domain", s->domain, NULL);
        refuse(s, "unavailable", "a key of the domain cannot sign");
        return;
    }
    struct buf reply = {0};
    metric_add(&signed_messages, 1);
    sign_reply_write(buf_slice(&s->fields), &reply);
    bus_answer_text(s->call, buf_slice(&reply));
    buf_free(&reply);
    sign_end(s);
}

static void on_keys(void *ctx, struct domain_keys *keys, const char *code) {
    struct sign *s = ctx;
    if (!keys) {
        refuse(s, code,
               strcmp(code, "not_found") == 0 ? "the domain has no DKIM key here"
                                              : "the domain's keys are not available now");
        return;
    }
    if (!domain_keys_can_sign(keys)) {
        refuse(s, "not_found", "the domain has no active DKIM key here");
        return;
    }
    s->keys = domain_keys_hold(keys);
    service_offload(s->verifier->worker, make_signatures, signatures_made, s);
}

static void on_sign(void *ctx, struct bus_call *call, struct slice text) {
    struct verifier *v = ctx;
    struct sign_ask ask;
    if (!verifier_begin(v, call)) return;
    struct sign *s = memory_alloc(sizeof *s);
    s->verifier = v;
    s->call = call;
    s->arena = arena_create();
    const char *fault = sign_ask_read(s->arena, text, &ask);
    s->header = ask.header;
    s->body_hash = ask.body_hash;
    if (fault)
        refuse(s, "invalid", fault);
    else if (domain_normalise(ask.domain, s->domain) != 0)
        refuse(s, "invalid", "the domain is not a domain name");
    else
        key_cache_get(v->keys, slice_of(s->domain), on_keys, s);
}

void sign_serve(struct verifier *v) { bus_serve_text(v->worker->bus, "sign", on_sign, v); }
