#include "services/delivery/bounce.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/mail/header.h"
#include "libcommon/store/blob.h"
#include "libcommon/trust/dkim/body_hash.h"

enum { RETURNED_MAX = 64 * 1024, RESOLVE_MS = 10000, SIGN_MS = 10000, REASON_MAX = 600 };

enum report_kind report_wanted(const json_t *rcpt, const struct outcome *o, int64_t age_ms,
                               const struct retry_policy *policy, bool warned) {
    const char *notify = json_string_value(json_object_get(rcpt, "notify"));
    bool never = notify && strstr(notify, "never");
    bool failure = !never && (!notify || strstr(notify, "failure")),
         delay = !never && (!notify || strstr(notify, "delay")), success = notify && strstr(notify, "success");
    switch (o->kind) {
    case OUTCOME_BOUNCED: return failure ? REPORT_FAILED : REPORT_NONE;
    case OUTCOME_DEFERRED: return delay && !warned && age_ms > policy->warn_ms ? REPORT_DELAYED : REPORT_NONE;
    case OUTCOME_DELIVERED: return success ? REPORT_DELIVERED : REPORT_NONE;
    case OUTCOME_SENT: return success && !o->dsn_passed_on ? REPORT_RELAYED : REPORT_NONE;
    }
    return REPORT_NONE;
}

void bounce_id(const char *original, size_t count, const struct report reports[], char out[ULID_BYTES]) {
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    unsigned char digest[32];
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, sizeof digest);
    crypto_generichash_update(&h, (const unsigned char *)original, ULID_LENGTH);
    for (size_t i = 0; i < count; i++) {
        unsigned char what[8] = {(unsigned char)reports[i].kind, (unsigned char)(reports[i].index & 0xff),
                                 (unsigned char)(reports[i].index >> 8)};
        crypto_generichash_update(&h, what, sizeof what);
    }
    crypto_generichash_final(&h, digest, sizeof digest);
    memcpy(out, original, 10); /* the time of the message it is about */
    for (int i = 10; i < ULID_LENGTH; i++) out[i] = alphabet[digest[i] & 31];
    out[ULID_LENGTH] = 0;
}

/* One line of text from elsewhere, without what could begin another field. */
static void add_line(struct buf *out, const char *text) {
    size_t n = 0;
    for (const char *c = text ? text : ""; *c && n < REASON_MAX; c++, n++)
        buf_add_char(out, (unsigned char)*c < ' ' || *c == 0x7f ? ' ' : *c);
}

static const char *word(enum report_kind kind) {
    static const char *const words[] = {"", "failed", "delayed", "delivered", "relayed"};
    return words[kind];
}

/* What the person reads. */
static void add_human_part(struct buf *out, const struct entry *e, size_t count, const struct report reports[]) {
    switch (reports[0].kind) {
    case REPORT_FAILED: buf_add_str(out, "Your message could not be delivered.\r\n\r\n"); break;
    case REPORT_DELAYED:
        buf_add_str(
            out,
            "Your message has not been delivered yet. You need not send it again: it is still being tried.\r\n\r\n");
        break;
    default: buf_add_str(out, "You asked to hear of it: your message went on its way well.\r\n\r\n"); break;
    }
    for (size_t i = 0; i < count; i++) {
        const struct outcome *o = &reports[i].outcome;
        buf_printf(out, "<%s>: %s\r\n    ",
                   json_string_value(json_object_get(entry_rcpt(e, reports[i].index), "address")),
                   word(reports[i].kind));
        if (*o->host) buf_printf(out, "%s said: ", o->host);
        add_line(out, o->reason);
        buf_add_str(out, "\r\n");
    }
}

/* message/delivery-status, RFC 3464 §2. */
static void add_status_part(struct buf *out, const char *hostname, const struct entry *e, size_t count,
                            const struct report reports[]) {
    char when[CLOCK_TEXT_BYTES];
    const char *envid = json_string_value(json_object_get(e->envelope, "envid"));
    if (envid) buf_printf(out, "Original-Envelope-Id: %s\r\n", envid);
    buf_printf(out, "Reporting-MTA: dns; %s\r\nArrival-Date: %s\r\n", hostname,
               clock_rfc5322(json_integer_value(json_object_get(e->envelope, "received")), when));
    for (size_t i = 0; i < count; i++) {
        const struct outcome *o = &reports[i].outcome;
        const json_t *rcpt = entry_rcpt(e, reports[i].index);
        const char *orcpt = json_string_value(json_object_get(rcpt, "orcpt"));
        buf_add_str(out, "\r\n");
        if (orcpt) buf_printf(out, "Original-Recipient: %s\r\n", orcpt);
        buf_printf(out, "Final-Recipient: rfc822; %s\r\nAction: %s\r\nStatus: %s\r\n",
                   json_string_value(json_object_get(rcpt, "address")), word(reports[i].kind), o->enhanced);
        if (*o->host) {
            buf_printf(out, "Remote-MTA: dns; %s\r\nDiagnostic-Code: smtp; ", o->host);
            add_line(out, o->reason);
            buf_add_str(out, "\r\n");
        }
    }
}

void bounce_text(const char *hostname, const char *report_id, const struct entry *e, size_t count,
                 const struct report reports[], struct slice original, int64_t now_ms, struct buf *out) {
    char when[CLOCK_TEXT_BYTES];
    size_t body_at;
    const char *ret = json_string_value(json_object_get(e->envelope, "ret"));
    bool secret = json_is_true(
        json_object_get(e->envelope, "require_tls")); /* RFC 8689 §5: of such a message only the header goes back */
    bool full = ret && strcmp(ret, "full") == 0 && original.n <= RETURNED_MAX && !secret;
    struct slice header = header_block(original, &body_at);
    static const char *const subjects[] = {"", "Your message could not be delivered", "Your message is delayed",
                                           "Your message was delivered", "Your message was handed on"};
    buf_printf(out,
               "From: Mail Delivery System <MAILER-DAEMON@%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: "
               "<%s@%s>\r\nAuto-Submitted: "
               "auto-replied\r\nMIME-Version: 1.0\r\n"
               "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"report-%s\"\r\n\r\n",
               hostname, json_string_value(json_object_get(e->envelope, "from")), subjects[reports[0].kind],
               clock_rfc5322(now_ms, when), report_id, hostname, report_id);
    buf_printf(out, "--report-%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
               report_id);
    add_human_part(out, e, count, reports);
    buf_printf(out, "\r\n--report-%s\r\nContent-Type: message/delivery-status\r\n\r\n", report_id);
    add_status_part(out, hostname, e, count, reports);
    buf_printf(out, "\r\n--report-%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", report_id,
               full ? "message/rfc822" : "text/rfc822-headers"); /* RFC 6522 §3, §4 */
    buf_add_slice(out, full ? original : slice_head(header, RETURNED_MAX));
    buf_printf(out, "\r\n--report-%s--\r\n", report_id);
}

/* On its way into the queue
 * ------------------------------------------------------------------------------------------------------------------ */

struct sending {
    struct entry *entry;
    char id[ULID_BYTES];
    struct buf text;
    size_t count;
    struct report *reports;
    void (*done)(void *ctx, int error);
    void *ctx;
};

static void finish(struct sending *s, int error) {
    void (*done)(void *, int) = s->done;
    void *ctx = s->ctx;
    for (size_t i = 0; i < s->count; i++) {
        free((char *)(uintptr_t)s->reports[i].outcome.reason);
        free((char *)(uintptr_t)s->reports[i].outcome.host);
        free((char *)(uintptr_t)s->reports[i].outcome.enhanced);
    }
    free(s->reports);
    buf_free(&s->text);
    free(s);
    done(ctx, error);
}

static void on_committed(void *ctx, int error) {
    struct sending *s = ctx;
    struct bus *bus = s->entry->delivery->worker->bus;
    if (!error) {
        const char *to = json_string_value(json_object_get(s->entry->envelope, "from"));
        char message_id[256], reply[64];
        snprintf(message_id, sizeof message_id, "<%s@%s>", s->id, s->entry->delivery->worker->hostname);
        snprintf(reply, sizeof reply, "queued as %s", s->id);
        bus_publish(bus, "mail.accepted", slice_of(s->id),
                    json_pack("{s:i,s:s,s:[{s:s}],s:I,s:s,s:s,s:s}", "shard", queue_shard_of(slice_of(s->id)), "from",
                              "", "rcpts", "address", to, "size", (json_int_t)s->text.n, "message_id", message_id,
                              "origin", "bounce", "reply", reply));
    }
    finish(s, error);
}

static void commit(struct sending *s, const json_t *users) {
    struct entry *e = s->entry;
    struct redis *redis = e->delivery->worker->redis;
    char message_id[256];
    json_t *rcpts = json_array(), *each;
    size_t i;
    if (!json_is_array(users))
        json_array_append_new(rcpts,
                              json_pack("{s:O,s:n,s:n,s:s,s:s,s:i}", "address", json_object_get(e->envelope, "from"),
                                        "user", "orcpt", "notify", "never", "state", "due", "attempts", 0));
    json_array_foreach((json_t *)(uintptr_t)users, i, each) json_array_append_new(
        rcpts, json_pack("{s:O,s:O,s:n,s:s,s:s,s:i}", "address", json_object_get(each, "address"), "user",
                         json_object_get(each, "user"), "orcpt", "notify", "never", "state", "due", "attempts", 0));
    snprintf(message_id, sizeof message_id, "<%s@%s>", s->id, e->delivery->worker->hostname);
    json_t *envelope = json_pack("{s:s,s:s,s:I,s:s,s:I,s:b,s:s,s:n,s:n,s:b,s:o}", "from", "", "origin", "bounce",
                                 "size", (json_int_t)s->text.n, "message_id", message_id, "received",
                                 (json_int_t)clock_wall_ms(), "smtputf8", 0, "body", "8bitmime", "ret", "envid",
                                 "require_tls", json_is_true(json_object_get(e->envelope, "require_tls")), "rcpts",
                                 rcpts); /* RFC 8689 §5: a report tells of the message, and goes as it had to */
    blob_write(redis, slice_of(s->id), buf_slice(&s->text), "q", NULL, NULL);
    queue_commit(redis, slice_of(s->id), envelope, on_committed, s);
    json_decref(envelope);
}

static void on_signed(void *ctx, int error, const json_t *reply) {
    struct sending *s = ctx;
    const char *fields = json_string_value(json_object_get(reply, "headers"));
    if (error == BUS_UNAVAILABLE) {
        finish(s, STORE_UNAVAILABLE);
        return;
    }
    if (error == BUS_OK && fields) {
        struct buf whole = {0};
        buf_add_str(&whole, fields);
        buf_add_slice(&whole, buf_slice(&s->text));
        buf_free(&s->text);
        s->text = whole;
    }
    commit(s, NULL);
}

static void add_base64(json_t *object, const char *name, struct slice bytes) {
    struct buf text = {0};
    base64_encode(bytes, &text);
    json_object_set_new(object, name, json_stringn_nocheck(buf_str(&text), text.n));
    buf_free(&text);
}

/* A report that goes to another server is signed with the key of the mail host's domain: its From is MAILER-DAEMON
 * there, and with its null sender there is little else by which it can be known. Where that domain has no key here it
 * goes without. */
static void sign(struct sending *s) {
    const char *hostname = s->entry->delivery->worker->hostname, *dot = strchr(hostname, '.');
    const char *domain = dot && strchr(dot + 1, '.') ? dot + 1 : hostname;
    unsigned char digest[BODY_HASH_BYTES];
    uint64_t hashed;
    size_t body_at;
    struct slice header = header_block(buf_slice(&s->text), &body_at);
    struct body_hash *h = body_hash_create((struct body_hash_kind){.relaxed = true, .length = -1});
    body_hash_update(h, slice_skip(buf_slice(&s->text), body_at));
    body_hash_finish(h, digest, &hashed);
    json_t *ask = json_pack("{s:s,s:s}", "id", s->id, "domain", domain);
    add_base64(ask, "header_b64", header);
    add_base64(ask, "body_hash_b64", slice_make(digest, sizeof digest));
    bus_request(s->entry->delivery->worker->bus, "verifier.sign", ask, SIGN_MS, on_signed, s);
}

static void on_resolved(void *ctx, int error, const json_t *reply) {
    struct sending *s = ctx;
    const char *kind = json_string_value(json_object_get(reply, "kind"));
    if (error == BUS_UNAVAILABLE) {
        finish(s, STORE_UNAVAILABLE);
    } else if (error == BUS_REFUSED || !kind || strcmp(kind, "unknown") == 0) {
        log_info("no report: the sender does not exist", "id", s->entry->id, NULL);
        finish(s, 0);
    } else if (strcmp(kind, "local") == 0) {
        commit(s, json_object_get(reply, "users"));
    } else {
        sign(s);
    }
}

static void on_original(void *ctx, int error, struct slice message) {
    struct sending *s = ctx;
    struct delivery *d = s->entry->delivery;
    if (error && error != STORE_NOT_FOUND) {
        finish(s, error);
        return;
    }
    bounce_text(d->worker->hostname, s->id, s->entry, s->count, s->reports, message, clock_wall_ms(), &s->text);
    bus_request(d->worker->bus, "accounts.resolve",
                json_pack("{s:O}", "address", json_object_get(s->entry->envelope, "from")), RESOLVE_MS, on_resolved, s);
}

void bounce_send(struct entry *e, size_t count, const struct report reports[], void (*done)(void *ctx, int error),
                 void *ctx) {
    struct sending *s = memory_alloc(sizeof *s);
    s->entry = e;
    s->count = count;
    s->reports = memory_alloc(count * sizeof *s->reports);
    s->done = done;
    s->ctx = ctx;
    for (size_t i = 0; i < count; i++) { /* the outcomes' texts live only as long as the caller's */
        s->reports[i] = reports[i];
        s->reports[i].outcome.reason = memory_copy(slice_of(reports[i].outcome.reason));
        s->reports[i].outcome.host = memory_copy(slice_of(reports[i].outcome.host));
        s->reports[i].outcome.enhanced = memory_copy(slice_of(reports[i].outcome.enhanced));
        s->reports[i].outcome.details = NULL;
    }
    const char *from = json_string_value(json_object_get(e->envelope, "from"));
    if (!from || !*from) { /* a report on a report would never end (RFC 5321 §4.5.5) */
        finish(s, 0);
        return;
    }
    bounce_id(e->id, count, reports, s->id);
    blob_read(e->delivery->worker->redis, slice_of(e->id), NULL, on_original, s);
}
