/* verifier.seal: an ARC set (RFC 8617 §5.1) for a message that an alias forwards, with its results
 * from verifier.verify. The seal is made with the active key of the alias's domain, RSA if there is
 * one, because a receiver that does not support Ed25519 would consider the chain broken. Signing is
 * done on the pool. */
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "libcommon/mail/domain.h"
#include "libcommon/mail/header.h"
#include "libcommon/trust/arc/arc.h"
#include "libcommon/trust/tags.h"
#include "services/verifier/keys/keys.h"
#include "services/verifier/verifier.h"

static struct metric sealed_messages = METRIC_COUNTER("postbus_verifier_seals_total", "Messages given an ARC set");

struct seal {
    struct verifier *verifier;
    struct bus_call *call;
    struct arena *arena;
    struct slice header, body_hash, authserv_id, results;
    struct arc_verdict arc;
    char domain[DOMAIN_BYTES];
    struct domain_keys *keys;
    const struct signing_key *key;
    struct buf fields;
    bool failed;
};

static void seal_end(struct seal *s) {
    verifier_end(s->verifier);
    buf_free(&s->fields);
    arena_destroy(s->arena);
    free(s);
}

static void refuse(struct seal *s, const char *code, const char *message) {
    bus_refuse(s->call, code, message);
    seal_end(s);
}

/* Whether the chain must not be extended: a seal of it says cv=fail (§5.1.2), or it has no room
 * (§4.2.1). */
static bool has_ended(const struct seal *s) {
    struct header_field f;
    size_t at = 0;
    if (s->arc.sets >= ARC_SETS_MAX) return true;
    while (header_next(s->header, &at, &f) == 1)
        if (slice_is_nocase(f.name, "ARC-Seal") && slice_is_nocase(tag_find(f.value, "cv"), "fail")) return true;
    return false;
}

static void make_seal(void *job) { /* on a pool thread */
    struct seal *s = job;
    s->failed = arc_seal(s->header, (const unsigned char *)s->body_hash.p, &s->arc, s->authserv_id, s->results,
                         slice_of(s->domain), slice_of(s->key->selector), s->key->private_key, clock_wall_ms() / 1000,
                         &s->fields) != 0;
}

static void seal_made(void *job) {
    struct seal *s = job;
    domain_keys_release(s->keys);
    if (s->failed)
        log_warn("a message is forwarded without an ARC set", "domain", s->domain, "chain",
                 arc_result_text(s->arc.result), NULL);
    else
        metric_add(&sealed_messages, 1);
    bus_answer(s->call, json_pack("{s:s%}", "headers", buf_str(&s->fields), s->failed ? (size_t)0 : s->fields.n));
    seal_end(s);
}

static void on_keys(void *ctx, struct domain_keys *keys, const char *code) {
    struct seal *s = ctx;
    if (!keys) {
        refuse(s, code,
               strcmp(code, "not_found") == 0 ? "the domain has no DKIM key here"
                                              : "the domain's keys are not available now");
        return;
    }
    for (size_t i = 0; i < keys->count; i++) {
        const struct signing_key *k = &keys->keys[i];
        if (k->private_key && (!s->key || strcmp(k->algorithm, "rsa-sha256") == 0)) s->key = k;
    }
    if (!s->key) {
        refuse(s, "not_found", "the domain has no active DKIM key here");
        return;
    }
    s->keys = domain_keys_hold(keys);
    service_offload(s->verifier->worker, make_seal, seal_made, s);
}

/* The authserv-id and the results of this site's Authentication-Results field (RFC 8601 §2.2),
 * which is the first. */
static bool take_results(struct seal *s, struct slice fields) {
    struct header_field f;
    if (!header_find(fields, "Authentication-Results", &f)) return false;
    s->results = f.value;
    if (!slice_cut(&s->results, ';', &s->authserv_id)) return false;
    s->authserv_id = slice_trim(s->authserv_id);
    while (s->results.n && strchr(" \t\r\n", s->results.p[s->results.n - 1])) s->results.n--;
    return s->authserv_id.n && s->results.n;
}

static void take_chain(struct seal *s, const json_t *arc) {
    struct slice cv = member_slice(arc, "cv");
    json_int_t sets = json_integer_value(json_object_get(arc, "sets"));
    s->arc = (struct arc_verdict){.result = slice_is(cv, "pass")   ? ARC_PASS
                                            : slice_is(cv, "fail") ? ARC_FAIL
                                                                   : ARC_NONE,
                                  .sets = sets > 0 ? (size_t)sets : 0,
                                  .reason = "",
                                  .sealer = ""};
}

static void on_seal(void *ctx, struct bus_call *call, const json_t *ask) {
    struct verifier *v = ctx;
    if (!verifier_begin(v, call)) return;
    struct seal *s = memory_alloc(sizeof *s);
    s->verifier = v;
    s->call = call;
    s->arena = arena_create();
    take_chain(s, json_object_get(ask, "arc"));
    if (member_bytes(s->arena, ask, "header_b64", &s->header) != 0 ||
        member_bytes(s->arena, ask, "body_hash_b64", &s->body_hash) != 0 || s->body_hash.n != BODY_HASH_BYTES) {
        refuse(s, "invalid", "header_b64 or body_hash_b64 is missing or not base 64");
    } else if (!take_results(s, arena_slice(s->arena, member_slice(ask, "headers")))) {
        refuse(s, "invalid", "headers has no Authentication-Results field");
    } else if (domain_normalise(member_slice(ask, "domain"), s->domain) != 0) {
        refuse(s, "invalid", "the domain is not a domain name");
    } else if (has_ended(s)) {
        bus_answer(call, json_pack("{s:s}", "headers", ""));
        seal_end(s);
    } else {
        key_cache_get(v->keys, slice_of(s->domain), on_keys, s);
    }
}

void seal_serve(struct verifier *v) { bus_serve(v->worker->bus, "seal", on_seal, v); }
