/* The checks of a whole message from another server: what the verifier can prove of its sender, and, where an alias
 * hands it on, that our name is not lent to a forgery (forward.c), and the ARC seal. */
#include "libcommon/mail/header.h"
#include "services/smtpd/smtpd.h"

/* The verifier's reply as events carry it: without header text and byte ranges, which are only for us. */
static json_t *proofs_for_event(const json_t *reply) {
    json_t *proofs = json_copy((json_t *)(uintptr_t)reply);
    json_object_del(proofs, "headers");
    json_object_del(proofs, "drop");
    return proofs;
}

static void take_header_changes(struct transaction *t, const json_t *reply) {
    const char *fields = json_string_value(json_object_get(reply, "headers"));
    size_t i;
    json_t *range;
    if (fields) message_put_on_top(t, slice_of(fields));
    json_array_foreach(json_object_get(reply, "drop"), i, range) message_drop(
        t, (size_t)json_integer_value(json_array_get(range, 0)), (size_t)json_integer_value(json_array_get(range, 1)));
    message_drop_fields(t, "Return-Path"); /* ours alone says where the message came from (RFC 5321 §4.4) */
}

static void on_verified(struct checking *c, int error, const json_t *reply) {
    struct transaction *t = &c->session->t;
    const char *disposition = json_string_value(json_object_get(reply, "disposition")),
               *enhanced = json_string_value(json_object_get(reply, "enhanced")),
               *reason = json_string_value(json_object_get(reply, "reason"));
    if (error || !disposition) {
        check_reject(c, 451, "4.7.0", "The sender cannot be verified now, try again later");
        return;
    }
    t->proofs = proofs_for_event(reply);
    if (!reason) reason = "The sender could not be verified";
    if (strcmp(disposition, "reject") == 0) {
        check_reject(c, 550, enhanced ? enhanced : "5.7.1", "%s", reason);
    } else if (strcmp(disposition, "tempfail") == 0) {
        check_reject(c, 451, enhanced ? enhanced : "4.7.0", "%s", reason);
    } else {
        if (strcmp(disposition, "quarantine") == 0) check_quarantine(c, "Junk");
        take_header_changes(t, reply);
    }
}

void check_proofs(struct checking *c) {
    struct session *s = c->session;
    struct transaction *t = &s->t;
    if (session_is_submission(s)) return;
    json_t *hashes = json_array();
    for (size_t i = 0; i < t->hash_count; i++) {
        json_t *one =
            json_pack("{s:s,s:s,s:o}", "canon", t->hash_kinds[i].relaxed ? "relaxed" : "simple", "algorithm", "sha256",
                      "length", t->hash_kinds[i].length < 0 ? json_null() : json_integer(t->hash_kinds[i].length));
        add_base64(one, "hash_b64", slice_make(t->digests[i], BODY_HASH_BYTES));
        json_object_set_new(one, "hashed", json_integer((json_int_t)t->hashed[i]));
        json_array_append_new(hashes, one);
    }
    json_t *ask = json_pack("{s:s,s:s,s:s,s:s%,s:s,s:b,s:o}", "id", t->id, "client_ip", s->ip, "helo", s->helo,
                            "mail_from", t->from.p, t->from.n, "tls", stream_tls_version(s->stream), "smtputf8",
                            t->smtputf8, "body_hashes", hashes);
    add_base64(ask, "header_b64", message_header(t));
    check_ask(c, "verifier.verify", ask, SMTP_VERIFY_MS, on_verified);
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
    json_t *arc = json_object_get(t->proofs, "arc"), *sets = json_object_get(arc, "sets");
    const char *cv = json_string_value(json_object_get(arc, "cv"));
    json_t *ask =
        json_pack("{s:s,s:s,s:s,s:{s:s,s:I}}", "id", t->id, "domain", forward_domain(s), "headers",
                  buf_str(&t->change.on_top), "arc", "cv", cv ? cv : "none", "sets", json_integer_value(sets));
    add_base64(ask, "header_b64", buf_slice(&header));
    add_base64(ask, "body_hash_b64", slice_make(t->digests[whole], BODY_HASH_BYTES));
    buf_free(&header);
    check_ask(c, "verifier.seal", ask, SMTP_VERIFY_MS, on_sealed);
}
