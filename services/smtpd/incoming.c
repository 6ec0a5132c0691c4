/* The checks of a whole message from another server: the verification of its sender and, if an
 * alias forwards it, the check that our name does not authenticate a forgery (forward.c), and the
 * ARC seal. */
#include "services/smtpd/smtpd.h"

static void take_header_changes(struct transaction *t) {
    const struct verify_reply *v = t->verified;
    message_put_on_top(t, v->headers);
    for (size_t i = 0; i < v->drop_count; i++) message_drop(t, v->drops[i].offset, v->drops[i].n);
    message_drop_fields(t, "Return-Path"); /* only our own field is valid (RFC 5321 §4.4) */
}

static void on_verified(struct checking *c, int error, struct slice reply) {
    struct transaction *t = &c->session->t;
    struct verify_reply *v = arena_alloc(t->arena, sizeof *v);
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
    check_ask(c, "verifier.verify", &text, SMTP_VERIFY_MS, on_verified);
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
