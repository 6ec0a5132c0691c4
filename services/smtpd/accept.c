/* The text of a message is whole. What happens now, in this order:
 *   check_text()  bounds and line ends
 *   port 25:      ask the verifier, refuse what it rejects, prepend its verdict                (journey step 7)
 *                 handed on by an alias: another reverse-path (forward.c), and an ARC seal
 *   submission:   complete the header (RFC 6409 §8), ask the verifier to sign                  (step 2)
 *   commit()      body and queue entry into the store, in one write; the answer is the fsync   (step 8)
 *   on_committed()  250, and the news on the bus */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/mail/domain.h"
#include "libcommon/mail/header.h"
#include "libcommon/store/blob.h"
#include "libcommon/store/queue.h"
#include "services/smtpd/smtpd.h"

enum { DROPS_MAX = 64 };

/* A message on its way from the text to the store: lives until the store has answered. */
struct message {
    struct session *session;
    struct buf added;  /* header fields to put on top */
    size_t drop_count; /* byte ranges of the header that do not go on, in order */
    struct {
        size_t at, n;
    } drop[DROPS_MAX];
    json_t *verdict;    /* of the verifier, for the event; NULL: none */
    const char *sealed; /* the domain of the ARC seal that was added; NULL: none */
    json_t *envelope;
    char message_id[256];
    struct mail_address from; /* submission: of the From field */
    size_t size;
};

void message_free(struct message *m) {
    if (!m) return;
    buf_free(&m->added);
    json_decref(m->verdict);
    json_decref(m->envelope);
    free(m);
}

static json_t *text_or_null(const char *s) { return s ? json_string(s) : json_null(); }

static json_t *rcpt_addresses(const struct transaction *t) {
    json_t *list = json_array();
    for (const struct rcpt *r = t->rcpts; r; r = r->next) {
        json_t *one = json_pack("{s:s%}", "address", r->address.p, r->address.n);
        if (r->user) json_object_set_new(one, "user", json_string(r->user));
        if (r->from) json_object_set_new(one, "from", json_string(r->from));
        json_array_append_new(list, one);
    }
    return list;
}

/* The verdict as events carry it: without header text and byte ranges, which are only for us. */
static json_t *verdict_for_event(const json_t *reply) {
    json_t *verdict = json_copy((json_t *)(uintptr_t)reply);
    json_object_del(verdict, "headers");
    json_object_del(verdict, "drop");
    return verdict;
}

/* Refuses the message and says so on the bus; 4xx counts as deferred. */
static void refuse_message(struct session *s, struct message *m, int code, const char *enhanced, const char *reason) {
    struct transaction *t = &s->t;
    metric_add(code < 500 ? &smtpd_deferred : &smtpd_refused, 1);
    log_info("message refused", "id", t->id, "from", t->from.p, "client", stream_peer(s->stream), "enhanced", enhanced,
             "reason", reason, NULL);
    json_t *data = json_pack("{s:s%,s:o,s:o,s:i,s:s,s:s}", "from", t->from.p, t->from.n, "rcpts", rcpt_addresses(t),
                             "client", trace_client(s), "code", code, "enhanced", enhanced, "reason", reason);
    if (m && m->verdict) json_object_set(data, "verdict", m->verdict);
    if (data) bus_publish(s->smtpd->worker->bus, "mail.refused", slice_of(t->id), data);
    session_reply(s, "%d %s %s", code, enhanced, reason);
    if (m) message_free(m);
    transaction_reset(s);
}

/* Done: 250 only now (law 1). */
static void on_committed(void *ctx, int error) {
    struct message *m = ctx;
    struct session *s = m->session;
    struct transaction *t = &s->t;
    s->committing = false;
    s->busy = false;
    if (!error) { /* said also when the client is gone: the message is in the queue */
        char shard[8], reply[64];
        snprintf(shard, sizeof shard, "%d", queue_shard_of(slice_of(t->id)));
        snprintf(reply, sizeof reply, "250 2.0.0 Ok: queued as %s", t->id);
        metric_add(&smtpd_accepted, 1);
        metric_add(&smtpd_bytes, (int64_t)m->size);
        json_t *data =
            json_pack("{s:i,s:s%,s:o,s:I,s:s,s:s,s:s}", "shard", queue_shard_of(slice_of(t->id)), "from", t->from.p,
                      t->from.n, "rcpts", rcpt_addresses(t), "size", (json_int_t)m->size, "message_id", m->message_id,
                      "origin", session_is_submission(s) ? "submission" : "mx", "reply", reply);
        if (data && s->stream) json_object_set_new(data, "client", trace_client(s));
        if (data && m->verdict) json_object_set(data, "verdict", m->verdict);
        if (data && m->sealed) json_object_set_new(data, "sealed", json_string(m->sealed));
        if (data) bus_publish(s->smtpd->worker->bus, "mail.accepted", slice_of(t->id), data);
        if (log_level_enabled(LOG_INFO))
            log_info("message accepted", "id", t->id, "from", t->from.p, "client",
                     s->stream ? stream_peer(s->stream) : "gone", "shard", shard, NULL);
        if (s->stream) session_reply(s, "%s", reply);
    } else {
        metric_add(&smtpd_deferred, 1);
        log_warn("message not stored", "id", t->id, "reason", store_error_text(error), NULL);
        if (s->stream)
            session_reply(s, error == STORE_FULL ? "452 4.3.1 the store is full, try again later"
                                                 : "451 4.3.0 the store cannot be reached, try again");
    }
    message_free(m);
    if (s->gone) {
        session_destroy(s);
        return;
    }
    transaction_reset(s);
    session_continue(s);
}

static json_t *make_envelope(const struct session *s, const struct message *m) {
    const struct transaction *t = &s->t;
    json_t *rcpts = json_array();
    for (const struct rcpt *r = t->rcpts; r; r = r->next) {
        json_t *one = json_pack("{s:s%,s:o,s:o,s:o,s:s,s:i}", "address", r->address.p, r->address.n, "user",
                                text_or_null(r->user), "orcpt", text_or_null(r->orcpt), "notify",
                                text_or_null(r->notify), "state", "due", "attempts", 0);
        if (r->from) json_object_set_new(one, "from", json_string(r->from));
        json_array_append_new(rcpts, one);
    }
    return json_pack("{s:s%,s:s,s:I,s:s,s:I,s:b,s:s,s:o,s:o,s:b,s:o}", "from", t->from.p, t->from.n, "origin",
                     session_is_submission(s) ? "submission" : "mx", "size", (json_int_t)m->size, "message_id",
                     m->message_id, "received", (json_int_t)clock_wall_ms(), "smtputf8", t->smtputf8, "body",
                     t->body ? t->body : "8bitmime", "ret", text_or_null(t->ret), "envid", text_or_null(t->envid),
                     "require_tls", t->require_tls, "rcpts", rcpts);
}

/* Puts the added fields on top of the text, less the dropped ranges, and writes body and entry in one go. */
static void commit(struct message *m) {
    struct session *s = m->session;
    struct transaction *t = &s->t;
    struct redis *redis = s->smtpd->worker->redis;
    struct slice text = buf_slice(&t->text);
    struct buf whole = {0};
    size_t at = 0;
    buf_reserve(&whole, m->added.n + text.n + 512);
    buf_add_slice(&whole, buf_slice(&m->added));
    trace_received(s, &whole);
    for (size_t i = 0; i < m->drop_count; i++) {
        if (m->drop[i].at < at || m->drop[i].at + m->drop[i].n > text.n) continue;
        buf_add(&whole, text.p + at, m->drop[i].at - at);
        at = m->drop[i].at + m->drop[i].n;
    }
    buf_add(&whole, text.p + at, text.n - at);
    m->size = whole.n;
    m->envelope = make_envelope(s, m);
    if (!m->envelope) {
        buf_free(&whole);
        s->busy = false;
        refuse_message(s, m, 553, "5.6.7", "an address of the envelope is not valid UTF-8");
        session_continue(s);
        return;
    }
    s->committing = true;
    s->busy = true;
    blob_write(redis, slice_of(t->id), buf_slice(&whole), "q", NULL, NULL);
    queue_commit(redis, slice_of(t->id), m->envelope, on_committed, m);
    buf_free(&whole);
}

/* Port 25
 * ------------------------------------------------------------------------------------------------------------------------------------
 */

static void take_drops(struct message *m, const json_t *reply) {
    size_t i;
    json_t *range;
    json_array_foreach(json_object_get(reply, "drop"), i, range) {
        if (m->drop_count == DROPS_MAX) break;
        m->drop[m->drop_count].at = (size_t)json_integer_value(json_array_get(range, 0));
        m->drop[m->drop_count++].n = (size_t)json_integer_value(json_array_get(range, 1));
    }
}

static void add_base64(json_t *object, const char *name, struct slice bytes) {
    struct buf text = {0};
    base64_encode(bytes, &text);
    json_object_set_new(object, name, json_stringn_nocheck(buf_str(&text), text.n));
    buf_free(&text);
}

/* The header block as it goes on, without what we add. */
static void add_header(const struct message *m, struct slice header, struct buf *out) {
    size_t at = 0;
    for (size_t i = 0; i < m->drop_count; i++) {
        if (m->drop[i].at < at || m->drop[i].at + m->drop[i].n > header.n) continue;
        buf_add(out, header.p + at, m->drop[i].at - at);
        at = m->drop[i].at + m->drop[i].n;
    }
    buf_add(out, header.p + at, header.n - at);
}

/* The fields that the verifier made go above all others. */
static void put_on_top(struct message *m, const char *fields) {
    struct buf on_top = {0};
    buf_add_str(&on_top, fields);
    buf_add_slice(&on_top, buf_slice(&m->added));
    buf_free(&m->added);
    m->added = on_top;
}

static void on_sealed(void *ctx, int error, const json_t *reply) {
    struct message *m = ctx;
    struct session *s = m->session;
    const char *fields = json_string_value(json_object_get(reply, "headers"));
    s->ticket = 0;
    s->busy = false;
    s->asking = NULL;
    if (error == BUS_UNAVAILABLE) {
        refuse_message(s, m, 451, "4.7.0", "the message cannot be sealed now, try again");
        session_continue(s);
        return;
    }
    if (error == BUS_OK && fields) put_on_top(m, fields);
    if (error == BUS_OK && fields && *fields) m->sealed = forward_domain(s); /* of the transaction's arena */
    commit(m);
}

/* Handed on: another reverse-path, and what we found sealed for those who come after us (RFC 8617 §5.1). */
static void hand_on(struct message *m) {
    struct session *s = m->session;
    struct transaction *t = &s->t;
    struct buf header = {0};
    size_t body_at, whole = 0;
    forward_rewrite(s, m->verdict);
    while (whole + 1 < t->hash_count && !(t->hash_kinds[whole].relaxed && t->hash_kinds[whole].length < 0)) whole++;
    add_header(m, header_block(buf_slice(&t->text), &body_at), &header);
    json_t *arc = json_object_get(m->verdict, "arc"), *sets = json_object_get(arc, "sets");
    const char *cv = json_string_value(json_object_get(arc, "cv"));
    json_t *ask = json_pack("{s:s,s:s,s:s,s:{s:s,s:I}}", "id", t->id, "domain", forward_domain(s), "headers",
                            buf_str(&m->added), "arc", "cv", cv ? cv : "none", "sets", json_integer_value(sets));
    add_base64(ask, "header_b64", buf_slice(&header));
    add_base64(ask, "body_hash_b64", slice_make(t->digests[whole], BODY_HASH_BYTES));
    buf_free(&header);
    s->busy = true;
    s->asking = m;
    s->ticket = bus_request(s->smtpd->worker->bus, "verifier.seal", ask, SMTP_VERIFY_MS, on_sealed, m);
}

static void refuse_as_ours(struct message *m) {
    refuse_message(m->session, m, 550, "5.7.1",
                   "the sender is one of our own domains, but could not be proven: such a message is not handed on to "
                   "another server");
}

/* What could not be proven goes on under its own sender; when that is one of ours, our servers would prove it to
 * everyone else. */
static void on_whose_sender(void *ctx, int error, const json_t *reply) {
    struct message *m = ctx;
    struct session *s = m->session;
    const char *kind = json_string_value(json_object_get(reply, "kind"));
    s->ticket = 0;
    s->busy = false;
    s->asking = NULL;
    if (error == BUS_UNAVAILABLE || (error == BUS_OK && !kind)) {
        refuse_message(s, m, 451, "4.3.0", "the sender cannot be looked up now, try again");
    } else if (error == BUS_OK && strcmp(kind, "remote") != 0) {
        refuse_as_ours(m);
    } else {
        hand_on(m);
        return;
    }
    session_continue(s);
}

static void ask_whose_sender(struct message *m) {
    struct session *s = m->session;
    s->busy = true;
    s->asking = m;
    s->ticket =
        bus_request(s->smtpd->worker->bus, "accounts.resolve", json_pack("{s:s%}", "address", s->t.from.p, s->t.from.n),
                    SMTP_RESOLVE_MS, on_whose_sender, m);
}

static void on_verified(void *ctx, int error, const json_t *reply) {
    struct message *m = ctx;
    struct session *s = m->session;
    const char *disposition = json_string_value(json_object_get(reply, "disposition")),
               *headers = json_string_value(json_object_get(reply, "headers"));
    s->ticket = 0;
    s->busy = false;
    s->asking = NULL;
    if (error || !disposition) {
        refuse_message(s, m, 451, "4.7.0", "the sender cannot be verified now, try again");
    } else {
        m->verdict = verdict_for_event(reply);
        if (strcmp(disposition, "reject") == 0 || strcmp(disposition, "tempfail") == 0) {
            const char *enhanced = json_string_value(json_object_get(reply, "enhanced")),
                       *reason = json_string_value(json_object_get(reply, "reason"));
            bool temporary = strcmp(disposition, "tempfail") == 0;
            refuse_message(s, m, temporary ? 451 : 550,
                           enhanced    ? enhanced
                           : temporary ? "4.7.0"
                                       : "5.7.1",
                           reason ? reason : "the sender could not be verified");
        } else {
            if (headers) buf_add_str(&m->added, headers);
            take_drops(m, reply);
            bool on = forward_domain(s) != NULL, unproven = on && forward_is_unproven(m->verdict);
            if (unproven && forward_greeting_proves(s, m->verdict)) {
                refuse_as_ours(m);
                session_continue(s);
            } else if (unproven && s->t.from.n) {
                ask_whose_sender(m);
            } else if (on) {
                hand_on(m);
            } else {
                commit(m);
            }
            return;
        }
    }
    session_continue(s);
}

static void ask_verify(struct message *m, struct slice header) {
    struct session *s = m->session;
    struct transaction *t = &s->t;
    json_t *hashes = json_array();
    for (size_t i = 0; i < t->hash_count; i++) {
        json_t *one =
            json_pack("{s:s,s:s,s:o}", "canon", t->hash_kinds[i].relaxed ? "relaxed" : "simple", "algorithm", "sha256",
                      "length", t->hash_kinds[i].length < 0 ? json_null() : json_integer(t->hash_kinds[i].length));
        add_base64(one, "hash_b64", slice_make(t->digests[i], BODY_HASH_BYTES));
        json_object_set_new(one, "hashed", json_integer((json_int_t)t->hashed[i]));
        json_array_append_new(hashes, one);
    }
    json_t *ask = json_pack("{s:s,s:s,s:s,s:s%,s:s,s:b,s:o}", "id", t->id, "client_ip", stream_peer(s->stream), "helo",
                            s->helo, "mail_from", t->from.p, t->from.n, "tls", stream_tls_version(s->stream),
                            "smtputf8", t->smtputf8, "body_hashes", hashes);
    add_base64(ask, "header_b64", header);
    s->busy = true;
    s->asking = m;
    s->ticket = bus_request(s->smtpd->worker->bus, "verifier.verify", ask, SMTP_VERIFY_MS, on_verified, m);
}

/* Submission
 * ---------------------------------------------------------------------------------------------------------------------------------
 */

static void on_signed(void *ctx, int error, const json_t *reply) {
    struct message *m = ctx;
    struct session *s = m->session;
    s->ticket = 0;
    s->busy = false;
    s->asking = NULL;
    const char *headers = json_string_value(json_object_get(reply, "headers"));
    if (error == BUS_UNAVAILABLE) {
        refuse_message(s, m, 451, "4.7.0", "the message cannot be signed now, try again");
        session_continue(s);
        return;
    }
    if (error == BUS_OK && headers) {
        put_on_top(m, headers); /* signatures above the fields we added, which they cover */
    } else {
        log_info("sent on without a signature: the domain has no key here", "id", s->t.id, NULL);
    }
    commit(m);
}

static void ask_sign(struct message *m, struct slice header, const char *domain) {
    struct session *s = m->session;
    struct buf all = {0};
    buf_add_slice(&all, buf_slice(&m->added));
    add_header(m, header, &all); /* what does not go on is not signed */
    json_t *ask = json_pack("{s:s,s:s}", "id", s->t.id, "domain", domain);
    add_base64(ask, "header_b64", buf_slice(&all));
    add_base64(ask, "body_hash_b64", slice_make(s->t.digests[0], BODY_HASH_BYTES));
    buf_free(&all);
    s->busy = true;
    s->asking = m;
    s->ticket = bus_request(s->smtpd->worker->bus, "verifier.sign", ask, SMTP_VERIFY_MS, on_signed, m);
}

/* RFC 6409 §8: what a client left out and may not be missing; Bcc goes (RFC 5322 §3.6.3). */
static const char *complete_header(struct message *m, struct slice header, struct mail_address *from) {
    struct session *s = m->session;
    struct header_field field;
    char when[CLOCK_TEXT_BYTES];
    size_t at = 0;
    if (header_count(header, "From") != 1 || !header_find(header, "From", &field))
        return "the message needs one From field (RFC 5322 section 3.6)";
    if (address_normalise(trace_from_address(field.value), from) != 0) return "there is no address in the From field";
    if (!header_find(header, "Date", &field))
        buf_printf(&m->added, "Date: %s\r\n", clock_rfc5322(clock_wall_ms(), when));
    if (!header_find(header, "Message-ID", &field)) {
        snprintf(m->message_id, sizeof m->message_id, "<%s@%s>", s->t.id, s->smtpd->worker->hostname);
        buf_printf(&m->added, "Message-ID: %s\r\n", m->message_id);
    }
    while (header_next(header, &at, &field) == 1)
        if (slice_is_nocase(field.name, "Bcc")) {
            if (m->drop_count == DROPS_MAX) return "the message has too many Bcc fields";
            m->drop[m->drop_count].at = field.offset;
            m->drop[m->drop_count++].n = field.raw.n;
        }
    return NULL;
}

/* The From field must be the login's own too, or one account could send, signed, in the name of another (RFC 6409
 * §6.1). */
static void on_from_owned(void *ctx, int error, const json_t *reply) {
    struct message *m = ctx;
    struct session *s = m->session;
    size_t body_at;
    s->ticket = 0;
    s->busy = false;
    s->asking = NULL;
    if (error == BUS_UNAVAILABLE) {
        refuse_message(s, m, 451, "4.3.0", "the From address cannot be checked now, try again");
    } else if (error || !json_is_true(json_object_get(reply, "owns"))) {
        refuse_message(s, m, 550, "5.7.1", "the From address is not one of yours");
    } else {
        ask_sign(m, header_block(buf_slice(&s->t.text), &body_at), m->from.domain);
        return;
    }
    session_continue(s);
}

static void check_from(struct message *m, struct slice header) {
    struct session *s = m->session;
    struct mail_address envelope;
    char address[ADDRESS_BYTES_MAX];
    if (address_normalise(s->t.from, &envelope) == 0 && strcmp(envelope.local, m->from.local) == 0 &&
        strcmp(envelope.domain, m->from.domain) == 0) {
        ask_sign(m, header, m->from.domain); /* MAIL FROM was checked, and is the same */
        return;
    }
    s->busy = true;
    s->asking = m;
    s->ticket = bus_request(s->smtpd->worker->bus, "accounts.owns",
                            json_pack("{s:s,s:s}", "user", s->user, "address", address_text(&m->from, address)),
                            SMTP_RESOLVE_MS, on_from_owned, m);
}

/* The order of it all
 * ------------------------------------------------------------------------------------------------------------------------
 */

/* NULL, or why the text is refused with 55x. */
static const char *check_text(const struct session *s, struct slice header, int *code, const char **enhanced) {
    const struct transaction *t = &s->t;
    *code = 550;
    *enhanced = "5.6.11";
    if (t->scan.bare)
        return "the message has a CR or LF that is not part of a line end; lines end with CRLF and nothing else (RFC "
               "5321 section 2.3.8)";
    *enhanced = "5.6.0";
    if (t->scan.nul) return "the message has a NUL byte in it (RFC 5322 section 4.1)";
    *code = 554;
    *enhanced = "5.4.6";
    if (header_count(header, "Received") > SMTP_HOPS_MAX)
        return "the message has passed too many servers: a mail loop (RFC 5321 section 6.3)";
    return NULL;
}

void message_received(struct session *s) {
    struct transaction *t = &s->t;
    struct header_field field;
    const char *enhanced = NULL, *wrong;
    size_t body_at;
    int code;
    ulid_create(t->id);
    if (t->too_big) {
        refuse_message(s, NULL, 552, "5.3.4", "the message is too large");
        return;
    }
    if (t->no_memory) {
        refuse_message(s, NULL, 452, "4.3.1", "too much mail is coming in at once, try again");
        return;
    }
    struct slice header = header_block(buf_slice(&t->text), &body_at);
    if ((wrong = check_text(s, header, &code, &enhanced))) {
        refuse_message(s, NULL, code, enhanced, wrong);
        return;
    }
    struct message *m = memory_alloc(sizeof *m);
    m->session = s;
    if (header_find(header, "Message-ID", &field)) {
        struct slice id = slice_head(slice_trim(field.value), sizeof m->message_id - 1);
        for (size_t i = 0; i < id.n; i++) m->message_id[i] = id.p[i] > ' ' && id.p[i] <= '~' ? id.p[i] : '?';
    }
    if (!session_is_submission(s)) {
        ask_verify(m, header);
    } else if ((wrong = complete_header(m, header, &m->from))) {
        refuse_message(s, m, 550, "5.6.0", wrong);
    } else {
        check_from(m, header);
    }
}
