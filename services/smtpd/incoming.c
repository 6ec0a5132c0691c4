/* The checks of a whole message from another server: what the verifier can prove of its sender, and, where an alias
 * hands it on, that our name is not lent to a forgery (forward.c), and the ARC seal. */
#include "libcommon/base/member.h"
#include "libcommon/mail/header.h"
#include "services/smtpd/smtpd.h"

static void take_header_changes(struct transaction *t, const struct verify_reply *r) {
    if (r->headers.n) message_put_on_top(t, r->headers);
    for (size_t i = 0; i < r->drop_count; i++) message_drop(t, r->drops[i].offset, r->drops[i].n);
    message_drop_fields(t, "Return-Path"); /* ours alone says where the message came from (RFC 5321 §4.4) */
}

static void on_verified(struct checking *c, int error, struct slice reply) {
    struct transaction *t = &c->session->t;
    struct verify_reply *r = arena_alloc(t->arena, sizeof *r);
    if (error || verify_reply_read(t->arena, reply, r)) {
        check_reject(c, 451, "4.7.0", "The sender cannot be verified now, try again later");
        return;
    }
    t->proofs = r;
    const char *reason = r->reason.n ? r->reason.p : "The sender could not be verified";
    if (slice_is(r->disposition, "reject")) {
        check_reject(c, 550, r->enhanced.n ? r->enhanced.p : "5.7.1", "%s", reason);
    } else if (slice_is(r->disposition, "tempfail")) {
        check_reject(c, 451, r->enhanced.n ? r->enhanced.p : "4.7.0", "%s", reason);
    } else {
        if (slice_is(r->disposition, "quarantine")) check_quarantine(c, "Junk");
        take_header_changes(t, r);
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
    for (size_t i = 0; i < t->hash_count && i < VERIFY_HASHES_MAX; i++)
        ask.hashes[ask.hash_count++] =
            (struct verify_hash){t->hash_kinds[i].relaxed, t->hash_kinds[i].length, (int64_t)t->hashed[i],
                                 slice_make(t->digests[i], BODY_HASH_BYTES)};
    if (verify_ask_write(&ask, &text))
        check_ask_text(c, "verifier.verify", buf_slice(&text), SMTP_VERIFY_MS, on_verified);
    else
        check_reject(c, 550, "5.5.2", "The name given in EHLO or the reverse-path is not UTF-8");
    buf_free(&text);
}

/* Handed on by an alias
 * ---------------------------------------------------------------------------------------------------------
 */

static void refuse_forged(struct checking *c) {
    check_reject(c, 550, "5.7.1",
                 "The sender is of one of our own domains but could not be verified; such a message is not handed on "
                 "to another server");
}

static void on_whose_sender(struct checking *c, int error, const json_t *reply) {
    const char *kind = json_string_value(json_object_get(reply, "kind"));
    if (error == BUS_UNAVAILABLE || (error == BUS_OK && !kind))
        check_reject(c, 451, "4.3.0", "The sender cannot be looked up now, try again later");
    else if (error == BUS_OK && strcmp(kind, "remote") != 0)
        refuse_forged(c);
}

/* What could not be proven is handed on under its own sender; when that is one of ours, our servers would prove it to
 * everyone else. */
void check_forgery(struct checking *c) {
    struct session *s = c->session;
    struct transaction *t = &s->t;
    if (session_is_submission(s) || !forward_domain(s) || !forward_is_unproven(t->proofs)) return;
    if (forward_greeting_proves(s, t->proofs))
        refuse_forged(c);
    else if (t->from.n)
        check_ask(c, "accounts.resolve", json_pack("{s:s%}", "address", t->from.p, t->from.n), SMTP_RESOLVE_MS,
                  on_whose_sender);
}

static void on_sealed(struct checking *c, int error, const json_t *reply) {
    struct session *s = c->session;
    const char *fields = json_string_value(json_object_get(reply, "headers"));
    if (error == BUS_UNAVAILABLE) {
        check_reject(c, 451, "4.7.0", "The message cannot be sealed now, try again later");
    } else if (error == BUS_OK && fields && *fields) {
        message_put_on_top(&s->t, slice_of(fields));
        s->t.sealed = forward_domain(s); /* of the transaction's arena */
    }
}

/* Handed on: another reverse-path, and what we found sealed for those who come after us (RFC 8617 §5.1). */
void check_seal(struct checking *c) {
    struct session *s = c->session;
    struct transaction *t = &s->t;
    struct buf header = {0};
    size_t whole = 0;
    if (session_is_submission(s) || !forward_domain(s)) return;
    forward_rewrite(s, t->proofs);
    while (whole + 1 < t->hash_count && !(t->hash_kinds[whole].relaxed && t->hash_kinds[whole].length < 0)) whole++;
    message_kept_header(t, &header);
    const char *cv = t->proofs && t->proofs->arc_cv.n ? t->proofs->arc_cv.p : "none";
    json_int_t sets = t->proofs ? t->proofs->arc_sets : 0;
    json_t *ask = json_pack("{s:s,s:s,s:s,s:{s:s,s:I}}", "id", t->id, "domain", forward_domain(s), "headers",
                            buf_str(&t->change.on_top), "arc", "cv", cv, "sets", sets);
    member_set_base64(ask, "header_b64", buf_slice(&header));
    member_set_base64(ask, "body_hash_b64", slice_make(t->digests[whole], BODY_HASH_BYTES));
    buf_free(&header);
    check_ask(c, "verifier.seal", ask, SMTP_VERIFY_MS, on_sealed);
}
