/* The checks of a whole message from another server: the verification of its sender and, if an
 * alias forwards it, the check that our name does not authenticate a forgery (forward.c), and the
 * ARC seal. The verification is prepared at MAIL. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "services/smtpd/smtpd.h"

/* Announcements */

enum { PREFETCH_SLOTS = 1024 };

/* One client and sender's domain, by a hash. A collision only means that a message is not announced,
 * or that its verification is asked of a worker without advantage. */
struct announced {
    uint64_t key;
    int64_t until_us;
    char at[ULID_BYTES]; /* the verifier's worker that has the answers, for one message; the others
                            are verified by any worker, so that the load is shared */
};

struct prefetcher {
    struct smtpd *smtpd;
    size_t pending;
    bool closing; /* freed with the last answer */
    struct announced slots[PREFETCH_SLOTS];
};

struct announcement {
    struct prefetcher *prefetcher;
    uint64_t key;
};

static uint64_t hash_text(uint64_t hash, struct slice text) { /* FNV-1a */
    for (size_t i = 0; i < text.n; i++) hash = (hash ^ (uint64_t)tolower((unsigned char)text.p[i])) * 0x100000001b3u;
    return hash;
}

static uint64_t sender_key(const struct session *s) {
    struct slice domain = s->t.from.n ? envelope_domain(s->t.from) : slice_of(s->helo);
    return hash_text(hash_text(0xcbf29ce484222325u, slice_of(s->ip)) ^ 0xff, domain);
}

static void prefetcher_step(struct prefetcher *x) {
    if (x->closing && !x->pending) free(x);
}

static void on_prefetched(void *ctx, int error, struct slice reply) {
    struct announcement *a = ctx;
    struct prefetcher *x = a->prefetcher;
    struct announced *slot = &x->slots[a->key % PREFETCH_SLOTS];
    struct arena *arena = arena_create();
    struct slice at;
    if (!error && slot->key == a->key && prefetch_reply_read(arena, reply, &at) == NULL && ulid_is_valid(at))
        memcpy(slot->at, at.p, sizeof slot->at);
    arena_destroy(arena);
    free(a);
    x->pending--;
    prefetcher_step(x);
}

void prefetch_sender(struct session *s) {
    struct prefetcher *x = s->smtpd->prefetcher;
    uint64_t key = sender_key(s);
    struct announced *slot = &x->slots[key % PREFETCH_SLOTS];
    int64_t now = clock_monotonic_us();
    struct buf text = {0};
    if (session_is_submission(s) || s->prefetches >= SMTP_PREFETCHES_MAX || x->pending >= SMTP_PREFETCHING_MAX) return;
    if (slot->key == key && slot->until_us > now) return;
    *slot = (struct announced){.key = key, .until_us = now + (int64_t)SMTP_PREFETCH_KEEP_S * 1000000};
    struct prefetch_ask ask = {.client_ip = slice_of(s->ip), .helo = slice_of(s->helo), .mail_from = s->t.from};
    if (prefetch_ask_write(&ask, &text)) {
        struct announcement *a = memory_alloc(sizeof *a);
        *a = (struct announcement){x, key};
        s->prefetches++;
        x->pending++;
        bus_request_text(s->smtpd->worker->bus, "verifier.prefetch", buf_slice(&text), SMTP_PREFETCH_MS, on_prefetched,
                         a);
    }
    buf_free(&text);
}

struct prefetcher *prefetcher_create(struct smtpd *d) {
    struct prefetcher *x = memory_alloc(sizeof *x);
    x->smtpd = d;
    return x;
}

void prefetcher_destroy(struct prefetcher *x) {
    if (!x) return;
    x->closing = true;
    prefetcher_step(x);
}

/* The verb that verifies the message. */
static const char *verify_verb(struct session *s) {
    struct transaction *t = &s->t;
    uint64_t key = sender_key(s);
    struct announced *slot = &s->smtpd->prefetcher->slots[key % PREFETCH_SLOTS];
    t->announced = slot->key == key && slot->at[0];
    if (!t->announced) return "verifier.verify";
    const char *verb = arena_printf(t->arena, "verifier.at.%s.verify", slot->at);
    slot->at[0] = 0;
    return verb;
}

/* Verification */

static void take_header_changes(struct transaction *t) {
    const struct verify_reply *v = t->verified;
    message_put_on_top(t, v->headers);
    for (size_t i = 0; i < v->drop_count; i++) message_drop(t, v->drops[i].offset, v->drops[i].n);
    message_drop_fields(t, "Return-Path"); /* only our own field is valid (RFC 5321 §4.4) */
}

static void on_verified(struct checking *c, int error, struct slice reply) {
    struct transaction *t = &c->session->t;
    struct verify_reply *v = arena_alloc(t->arena, sizeof *v);
    if (error == BUS_UNAVAILABLE && t->announced) {
        check_proofs(c); /* that worker is slow, or has ended meanwhile: any other one */
        return;
    }
    if (error || verify_reply_read(t->arena, reply, v) != NULL) {
        check_reject(c, 451, "4.7.0", "The sender cannot be verified now, try again later");
        return;
    }
    t->verified = v;
    const char *reason = v->reason.n ? v->reason.p : "The sender could not be verified";
    if (slice_is(v->disposition, "reject")) {
        check_reject(c, 550, v->enhanced.n ? v->enhanced.p : "5.7.1", "%s", reason);
    } else if (slice_is(v->disposition, "tempfail")) {
        check_reject(c, 451, v->enhanced.n ? v->enhanced.p : "4.7.0", "%s", reason);
    } else {
        if (slice_is(v->disposition, "quarantine")) check_quarantine(c, "Junk");
        if (slice_is(v->disposition, "hold")) check_hold(c, reason);
        take_header_changes(t);
    }
}

void check_proofs(struct checking *c) {
    struct session *s = c->session;
    struct transaction *t = &s->t;
    struct buf text = {0};
    if (session_is_submission(s)) return;
    struct verify_ask ask = {.id = slice_of(t->id),
                             .client_ip = slice_of(s->ip),
                             .helo = slice_of(s->helo),
                             .mail_from = t->from,
                             .tls = slice_of(stream_tls_version(s->stream)),
                             .smtputf8 = t->smtputf8,
                             .header = message_header(t)};
    for (; ask.hash_count < t->hash_count && ask.hash_count < VERIFY_HASHES_MAX; ask.hash_count++) {
        size_t i = ask.hash_count;
        ask.hashes[i] = (struct verify_hash){.relaxed = t->hash_kinds[i].relaxed,
                                             .length = t->hash_kinds[i].length,
                                             .hashed = (int64_t)t->hashed[i],
                                             .digest = slice_make(t->digests[i], BODY_HASH_BYTES)};
    }
    verify_ask_write(&ask, &text);
    const char *verb = verify_verb(s);
    check_ask(c, verb, &text, t->announced ? SMTP_VERIFY_AT_MS : SMTP_VERIFY_MS, on_verified);
}

/* Handed on by an alias */

static void refuse_forged(struct checking *c) {
    check_reject(c, 550, "5.7.1",
                 "The sender is of one of our own domains but could not be verified; such a message is not handed on "
                 "to another server");
}

static void on_whose_sender(struct checking *c, int error, struct slice reply) {
    struct resolved *x = error ? NULL : resolved_read(reply);
    if (error == BUS_UNAVAILABLE || (error == BUS_OK && !x))
        check_reject(c, 451, "4.3.0", "The sender cannot be looked up now, try again later");
    else if (x && x->kind != RESOLVE_REMOTE)
        refuse_forged(c);
    resolved_release(x);
}

/* An unauthenticated message is forwarded with its own reverse-path; if that is of a hosted domain,
 * our servers would authenticate it for others. */
void check_forgery(struct checking *c) {
    struct session *s = c->session;
    struct transaction *t = &s->t;
    if (session_is_submission(s) || !forward_domain(s) || !forward_is_unproven(t->verified)) return;
    if (forward_greeting_proves(s, t->verified))
        refuse_forged(c);
    else if (t->from.n)
        ask_resolve(c, t->from, on_whose_sender);
}

static void on_sealed(struct checking *c, int error, struct slice reply) {
    struct session *s = c->session;
    struct slice fields;
    if (error == BUS_UNAVAILABLE) {
        check_reject(c, 451, "4.7.0", "The message cannot be sealed now, try again later");
    } else if (error == BUS_OK && sign_reply_read(s->t.arena, reply, &fields) == NULL && fields.n) {
        message_put_on_top(&s->t, fields);
        s->t.sealed = forward_domain(s); /* of the transaction's arena */
    }
}

/* Forwarded mail gets another reverse-path, and an ARC seal with our results (RFC 8617 §5.1). */
void check_seal(struct checking *c) {
    struct session *s = c->session;
    struct transaction *t = &s->t;
    struct buf header = {0}, ask = {0};
    size_t whole = 0;
    if (session_is_submission(s) || !forward_domain(s)) return;
    forward_rewrite(s, t->verified);
    while (whole + 1 < t->hash_count && !(t->hash_kinds[whole].relaxed && t->hash_kinds[whole].length < 0)) whole++;
    message_kept_header(t, &header);
    struct json_put j = json_put_begin(&ask);
    json_put_object(&j, NULL);
    json_put_word(&j, "id", t->id);
    json_put_word(&j, "domain", forward_domain(s));
    json_put_text(&j, "headers", buf_slice(&t->change.on_top));
    json_put_object(&j, "arc");
    json_put_text(&j, "cv", t->verified->arc_cv.n ? t->verified->arc_cv : SLICE("none"));
    json_put_integer(&j, "sets", t->verified->arc_sets);
    json_put_end(&j, '}');
    json_put_base64(&j, "header_b64", buf_slice(&header));
    json_put_base64(&j, "body_hash_b64", slice_make(t->digests[whole], BODY_HASH_BYTES));
    json_put_end(&j, '}');
    buf_free(&header);
    check_ask(c, "verifier.seal", &ask, SMTP_VERIFY_MS, on_sealed);
}
