/* The checks of a whole message from another server: what the verifier can prove of its sender, and, where an alias
 * hands it on, that our name is not lent to a forgery (forward.c), and the ARC seal. */
#include "libcommon/base/json_write.h"
#include "services/smtpd/smtpd.h"

static void take_header_changes(struct transaction *t, yyjson_val *reply) {
    const char *fields = answer_text(reply, "headers");
    size_t i, n;
    yyjson_val *range;
    if (fields) message_put_on_top(t, slice_of(fields));
    yyjson_arr_foreach(yyjson_obj_get(reply, "drop"), i, n, range)
        message_drop(t, yyjson_get_uint(yyjson_arr_get(range, 0)), yyjson_get_uint(yyjson_arr_get(range, 1)));
    message_drop_fields(t, "Return-Path"); /* ours alone says where the message came from (RFC 5321 §4.4) */
}

static void on_verified(struct checking *c, int error, yyjson_val *reply) {
    struct transaction *t = &c->session->t;
    const char *disposition = answer_text(reply, "disposition"), *enhanced = answer_text(reply, "enhanced"),
               *reason = answer_text(reply, "reason");
    if (error || !disposition) {
        check_reject(c, 451, "4.7.0", "The sender cannot be verified now, try again later");
        return;
    }
    message_keep_proofs(t, reply);
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

static void add_hashes(const struct transaction *t, struct buf *ask) {
    json_open(ask, "body_hashes", '[');
    for (size_t i = 0; i < t->hash_count; i++) {
        json_open(ask, NULL, '{');
        json_text(ask, "canon", t->hash_kinds[i].relaxed ? SLICE("relaxed") : SLICE("simple"));
        json_text(ask, "algorithm", SLICE("sha256"));
        if (t->hash_kinds[i].length < 0)
            json_nothing(ask, "length");
        else
            json_number(ask, "length", t->hash_kinds[i].length);
        json_base64(ask, "hash_b64", slice_make(t->digests[i], BODY_HASH_BYTES));
        json_number(ask, "hashed", (int64_t)t->hashed[i]);
        json_close(ask, '}');
    }
    json_close(ask, ']');
}

void check_proofs(struct checking *c) {
    struct session *s = c->session;
    struct transaction *t = &s->t;
    struct buf ask = {0};
    if (session_is_submission(s)) return;
    json_open(&ask, NULL, '{');
    json_text(&ask, "id", slice_of(t->id));
    json_text(&ask, "client_ip", slice_of(s->ip));
    json_text(&ask, "helo", slice_of(s->helo));
    json_text(&ask, "mail_from", t->from);
    json_text(&ask, "tls", slice_of(stream_tls_version(s->stream)));
    json_flag(&ask, "smtputf8", t->smtputf8);
    add_hashes(t, &ask);
    json_base64(&ask, "header_b64", message_header(t));
    json_close(&ask, '}');
    check_ask(c, "verifier.verify", &ask, SMTP_VERIFY_MS, on_verified);
}

/* Handed on by an alias
 * ---------------------------------------------------------------------------------------------------------
 */

static void refuse_forged(struct checking *c) {
    check_reject(c, 550, "5.7.1",
                 "The sender is of one of our own domains but could not be verified; such a message is not handed on "
                 "to another server");
}

static void on_whose_sender(struct checking *c, int error, yyjson_val *reply) {
    const char *kind = answer_text(reply, "kind");
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
    if (session_is_submission(s) || !forward_domain(s) || !forward_is_unproven(message_proofs(t))) return;
    if (forward_greeting_proves(s, message_proofs(t)))
        refuse_forged(c);
    else if (t->from.n)
        ask_resolve(c, t->from, on_whose_sender);
}

static void on_sealed(struct checking *c, int error, yyjson_val *reply) {
    struct session *s = c->session;
    const char *fields = answer_text(reply, "headers");
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
    struct buf header = {0}, ask = {0};
    size_t whole = 0;
    if (session_is_submission(s) || !forward_domain(s)) return;
    yyjson_val *proofs = message_proofs(t), *arc = yyjson_obj_get(proofs, "arc");
    const char *cv = answer_text(arc, "cv");
    forward_rewrite(s, proofs);
    while (whole + 1 < t->hash_count && !(t->hash_kinds[whole].relaxed && t->hash_kinds[whole].length < 0)) whole++;
    message_kept_header(t, &header);
    json_open(&ask, NULL, '{');
    json_text(&ask, "id", slice_of(t->id));
    json_text(&ask, "domain", slice_of(forward_domain(s)));
    json_text(&ask, "headers", buf_slice(&t->change.on_top));
    json_open(&ask, "arc", '{');
    json_text(&ask, "cv", slice_of(cv ? cv : "none"));
    json_number(&ask, "sets", yyjson_get_sint(yyjson_obj_get(arc, "sets")));
    json_close(&ask, '}');
    json_base64(&ask, "header_b64", buf_slice(&header));
    json_base64(&ask, "body_hash_b64", slice_make(t->digests[whole], BODY_HASH_BYTES));
    json_close(&ask, '}');
    buf_free(&header);
    check_ask(c, "verifier.seal", &ask, SMTP_VERIFY_MS, on_sealed);
}
