#include "services/delivery/report/report.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "libcommon/mail/header.h"
#include "libcommon/outbox/outbox.h"
#include "libcommon/store/queue.h"
#include "libcommon/trust/dkim/body_hash.h"
#include "services/delivery/report/dsn.h"

enum { RESOLVE_MS = 10000, SIGN_MS = 10000 };

static struct metric reports = METRIC_COUNTER("postbus_delivery_reports_total", "Reports to senders");

struct reporting {
    struct delivery *delivery;
    struct envelope *envelope;
    char token[ULID_BYTES];
    enum rcpt_report kind; /* the kind of the current report */
    size_t count, *indexes;
    char id[ULID_BYTES];
    bool nobody; /* the sender does not exist */
    struct buf text;
    json_t *accepted; /* the event, published after the commit */
    report_fn *done;
    void *ctx;
};

static void next_kind(struct reporting *s);

static void finish(struct reporting *s, int error) {
    report_fn *done = s->done;
    void *ctx = s->ctx;
    buf_free(&s->text);
    json_decref(s->accepted);
    free(s->indexes);
    free(s);
    done(ctx, error);
}

void report_tell_bounced(struct delivery *d, const struct envelope *e, size_t index, const char *dsn) {
    const struct envelope_rcpt *r = &e->rcpts[index];
    bus_publish(d->worker->bus, "mail.bounced", slice_of(e->id),
                json_pack("{s:s%,s:s%,s:i,s:s%,s:s%,s:s?}", "rcpt", r->address.p, r->address.n, "host",
                          r->host.p ? r->host.p : "", r->host.n, "code", r->code, "enhanced", r->enhanced.p,
                          r->enhanced.n, "reason", r->reply.p, r->reply.n, "dsn", dsn));
}

static void on_cleared(void *ctx, int error) {
    struct reporting *s = ctx;
    if (error < 0) {
        finish(s, error);
        return;
    }
    for (size_t i = 0; i < s->count; i++) s->envelope->rcpts[s->indexes[i]].owed = REPORT_NONE;
    if (error == QUEUE_GONE)
        finish(s, QUEUE_GONE);
    else
        next_kind(s);
}

/* The report was committed: only now is it no longer owed. */
static void clear(struct reporting *s) {
    for (size_t i = 0; s->kind == REPORT_FAILED && i < s->count; i++)
        report_tell_bounced(s->delivery, s->envelope, s->indexes[i], s->nobody ? NULL : s->id);
    queue_reported(s->delivery->worker->redis, s->envelope, s->token, s->count, s->indexes, on_cleared, s);
}

static void on_committed(void *ctx, int error) {
    struct reporting *s = ctx;
    if (error) {
        finish(s, error);
        return;
    }
    metric_add(&reports, 1);
    bus_publish(s->delivery->worker->bus, "mail.accepted", slice_of(s->id), s->accepted);
    s->accepted = NULL;
    log_info("a report to the sender is queued", "id", s->envelope->id, "report", s->id, NULL);
    clear(s);
}

static json_t *accepted_data(const struct reporting *s, const struct envelope *report) {
    char reply[64];
    json_t *rcpts = json_array();
    for (size_t i = 0; i < report->rcpt_count; i++)
        json_array_append_new(rcpts,
                              json_pack("{s:s%}", "address", report->rcpts[i].address.p, report->rcpts[i].address.n));
    snprintf(reply, sizeof reply, "queued as %s", s->id);
    return json_pack("{s:i,s:s,s:o,s:I,s:s%,s:s,s:s}", "shard", queue_shard_of(slice_of(s->id)), "from", "", "rcpts",
                     rcpts, "size", (json_int_t)report->size, "message_id", report->message_id.p, report->message_id.n,
                     "origin", "bounce", "reply", reply);
}

static bool is_ascii(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] & 0x80) return false;
    return true;
}

/* users: local accounts to which the sender's address leads; NULL: it is at another site. */
static void commit(struct reporting *s, const json_t *users) {
    const struct envelope *e = s->envelope;
    const json_t *each;
    size_t i, count = json_array_size(users);
    struct envelope_rcpt *rcpts = memory_alloc((count + 1) * sizeof *rcpts);
    char message_id[300];
    snprintf(message_id, sizeof message_id, "<%s@%s>", s->id, s->delivery->worker->hostname);
    rcpts[0] = (struct envelope_rcpt){.address = e->from, .notify = SLICE("never")};
    json_array_foreach((json_t *)(uintptr_t)users, i, each) rcpts[i] =
        (struct envelope_rcpt){.address = slice_of(json_string_value(json_object_get(each, "address"))),
                               .user = slice_of(json_string_value(json_object_get(each, "user"))),
                               .notify = SLICE("never")};
    struct envelope report = {.origin = ORIGIN_BOUNCE,
                              .size = s->text.n,
                              .message_id = slice_of(message_id),
                              .received_ms = clock_wall_ms(),
                              .smtputf8 = dsn_needs_smtputf8(e),
                              .require_tls = e->require_tls, /* RFC 8689 §5: a report goes as its
                                                                message had to */
                              .body = is_ascii(buf_slice(&s->text)) ? BODY_7BIT : BODY_8BITMIME,
                              .rcpt_count = count ? count : 1,
                              .rcpts = rcpts};
    memcpy(report.id, s->id, sizeof report.id);
    json_decref(s->accepted);
    s->accepted = accepted_data(s, &report);
    outbox_commit(s->delivery->worker->redis, s->delivery->worker->bus, &report, buf_slice(&s->text), on_committed, s);
    free(rcpts);
}

static void on_signed(void *ctx, int error, const json_t *reply) {
    struct reporting *s = ctx;
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

/* A report to another server is signed with the key of the mail host's domain: its From is
 * MAILER-DAEMON at that domain, and with its null reverse-path there is little other
 * authentication. If that domain has no key here, the report is not signed. */
static void sign(struct reporting *s) {
    const char *hostname = s->delivery->worker->hostname, *dot = strchr(hostname, '.');
    const char *domain = dot && strchr(dot + 1, '.') ? dot + 1 : hostname;
    unsigned char digest[BODY_HASH_BYTES];
    uint64_t hashed;
    size_t body_at;
    struct slice header = header_block(buf_slice(&s->text), &body_at);
    struct body_hash *h = body_hash_create((struct body_hash_kind){.relaxed = true, .length = -1});
    body_hash_update(h, slice_skip(buf_slice(&s->text), body_at));
    body_hash_finish(h, digest, &hashed);
    json_t *ask = json_pack("{s:s,s:s}", "id", s->id, "domain", domain);
    member_set_base64(ask, "header_b64", header);
    member_set_base64(ask, "body_hash_b64", slice_make(digest, sizeof digest));
    bus_request(s->delivery->worker->bus, "verifier.sign", ask, SIGN_MS, on_signed, s);
}

static void on_resolved(void *ctx, int error, const json_t *reply) {
    struct reporting *s = ctx;
    const char *kind = json_string_value(json_object_get(reply, "kind"));
    if (error == BUS_UNAVAILABLE) {
        finish(s, STORE_UNAVAILABLE);
    } else if (error == BUS_REFUSED || !kind || strcmp(kind, "unknown") == 0) {
        log_info("no report: the sender does not exist", "id", s->envelope->id, NULL);
        s->nobody = true;
        clear(s);
    } else if (strcmp(kind, "local") == 0 && json_array_size(json_object_get(reply, "users"))) {
        commit(s, json_object_get(reply, "users"));
    } else {
        sign(s);
    }
}

static void on_original(void *ctx, int error, struct slice message) {
    struct reporting *s = ctx;
    struct delivery *d = s->delivery;
    if (error && error != STORE_NOT_FOUND && error != STORE_INVALID) {
        finish(s, error);
        return;
    }
    struct buf original = {0};
    if (!error) {
        buf_add_slice(&original, s->envelope->prefix);
        buf_add_slice(&original, message);
    }
    buf_reset(&s->text);
    dsn_text(d->worker->hostname, s->id, s->envelope, s->kind, s->count, s->indexes, buf_slice(&original),
             clock_wall_ms(), &s->text);
    buf_free(&original);
    bus_request(d->worker->bus, "accounts.resolve",
                json_pack("{s:s%}", "address", s->envelope->from.p, s->envelope->from.n), RESOLVE_MS, on_resolved, s);
}

static void next_kind(struct reporting *s) {
    const struct envelope *e = s->envelope;
    s->count = 0;
    s->kind = REPORT_NONE;
    s->nobody = false;
    for (size_t i = 0; i < e->rcpt_count; i++) {
        if (e->rcpts[i].owed == REPORT_NONE || (s->kind != REPORT_NONE && e->rcpts[i].owed != s->kind)) continue;
        s->kind = e->rcpts[i].owed;
        s->indexes[s->count++] = i;
    }
    if (!s->count) {
        finish(s, 0);
        return;
    }
    dsn_id(e, s->kind, s->count, s->indexes, s->id);
    if (!e->from.n) { /* RFC 5321 §4.5.5: there are no reports on mail with a null reverse-path */
        s->nobody = true;
        clear(s);
        return;
    }
    queue_read_text(s->delivery->worker->redis, slice_of(e->id), e->text_in_queue, on_original, s);
}

void report_owed(struct delivery *d, struct envelope *e, const char *token, report_fn *done, void *ctx) {
    struct reporting *s = memory_alloc(sizeof *s);
    s->delivery = d;
    s->envelope = e;
    s->done = done;
    s->ctx = ctx;
    s->indexes = memory_alloc((e->rcpt_count + 1) * sizeof *s->indexes);
    snprintf(s->token, sizeof s->token, "%s", token);
    next_kind(s);
}
