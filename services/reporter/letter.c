/* Sends a mail of this site: the verifier signs it for the domain in its From field, its recipient
 * is resolved, and it is committed to the queue as smtpd does. The reverse-path of a report is its
 * From address, so that SPF is aligned too (RFC 9990 §3.5.2: report mail has to pass DMARC);
 * delivery reports on it are not wanted. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "libcommon/mail/header.h"
#include "libcommon/outbox/outbox.h"
#include "libcommon/store/queue.h"
#include "libcommon/trust/dkim/body_hash.h"
#include "services/reporter/reporter.h"

struct letter {
    struct reporter *reporter;
    char id[ULID_BYTES], to[ADDRESS_BYTES_MAX];
    struct buf text, fields; /* fields: signatures, on top */
    struct arena *arena;     /* memory of rcpts */
    struct envelope_rcpt *rcpts;
    size_t rcpt_count;
    letter_fn *done;
    void (*committed)(void *ctx, int error);
    void *ctx;
};

void letter_destroy(struct letter *l) {
    if (!l) return;
    buf_free(&l->text);
    buf_free(&l->fields);
    arena_destroy(l->arena);
    free(l);
}

static void add_rcpt(struct letter *l, const char *address, const char *user) {
    if (!address || l->rcpt_count == ENVELOPE_RCPTS_MAX) return;
    l->rcpts[l->rcpt_count++] =
        (struct envelope_rcpt){.address = slice_of(arena_copy(l->arena, slice_of(address))),
                               .user = slice_of(user ? arena_copy(l->arena, slice_of(user)) : NULL),
                               .notify = SLICE("never")};
}

static void on_resolved(void *ctx, int error, const json_t *reply) {
    struct letter *l = ctx;
    const char *kind = member_text_or_null(reply, "kind");
    const json_t *users = json_object_get(reply, "users"), *remote = json_object_get(reply, "remote"), *each;
    size_t i;
    l->arena = arena_create();
    l->rcpts = arena_alloc(l->arena, (1 + json_array_size(users) + json_array_size(remote)) * sizeof *l->rcpts);
    if (error == BUS_OK && kind && strcmp(kind, "remote") == 0) add_rcpt(l, l->to, NULL);
    if (error == BUS_OK && kind && strcmp(kind, "local") == 0) {
        json_array_foreach(users, i, each)
            add_rcpt(l, member_text_or_null(each, "address"), member_text_or_null(each, "user"));
        json_array_foreach(remote, i, each) add_rcpt(l, json_string_value(each), NULL);
    }
    l->done(l->ctx, l, error == BUS_UNAVAILABLE ? LETTER_TEMPORARY : l->rcpt_count ? LETTER_READY : LETTER_NOBODY);
}

static void on_signed(void *ctx, int error, const json_t *reply) {
    struct letter *l = ctx;
    const char *headers = member_text_or_null(reply, "headers");
    if (error == BUS_UNAVAILABLE) {
        l->done(l->ctx, l, LETTER_TEMPORARY);
        return;
    }
    if (error == BUS_OK && headers)
        buf_add_str(&l->fields, headers);
    else
        log_info("a report is sent without a signature: the domain has no key here", "id", l->id, "domain",
                 l->reporter->settings.from_domain, NULL);
    bus_request(l->reporter->worker->bus, "accounts.resolve", json_pack("{s:s}", "address", l->to), ASK_MS, on_resolved,
                l);
}

void letter_prepare(struct reporter *r, const char *id, const char *to, struct buf *text, letter_fn *done, void *ctx) {
    struct letter *l = memory_alloc(sizeof *l);
    unsigned char digest[BODY_HASH_BYTES];
    uint64_t hashed;
    size_t body_at;
    l->reporter = r;
    snprintf(l->id, sizeof l->id, "%s", id);
    snprintf(l->to, sizeof l->to, "%s", to);
    l->text = *text;
    *text = (struct buf){0};
    l->done = done;
    l->ctx = ctx;
    struct slice header = header_block(buf_slice(&l->text), &body_at);
    struct body_hash *h = body_hash_create((struct body_hash_kind){.relaxed = true, .length = -1});
    body_hash_update(h, slice_skip(buf_slice(&l->text), body_at));
    body_hash_finish(h, digest, &hashed);
    json_t *ask = json_pack("{s:s,s:s}", "id", id, "domain", r->settings.from_domain);
    member_set_base64(ask, "header_b64", header);
    member_set_base64(ask, "body_hash_b64", slice_make(digest, sizeof digest));
    bus_request(r->worker->bus, "verifier.sign", ask, ASK_MS, on_signed, l);
}

static void say_accepted(const struct letter *l) {
    struct reporter *r = l->reporter;
    char message_id[256], reply[64];
    json_t *rcpts = json_array();
    snprintf(message_id, sizeof message_id, "<%s@%s>", l->id, r->worker->hostname);
    snprintf(reply, sizeof reply, "queued as %s", l->id);
    for (size_t i = 0; i < l->rcpt_count; i++)
        json_array_append_new(rcpts, json_pack("{s:s,s:s?}", "address", l->rcpts[i].address.p, "user",
                                               l->rcpts[i].user.n ? l->rcpts[i].user.p : NULL));
    bus_publish(r->worker->bus, "mail.accepted", slice_of(l->id),
                json_pack("{s:i,s:s,s:o,s:I,s:s,s:s,s:s}", "shard", queue_shard_of(slice_of(l->id)), "from",
                          r->settings.from, "rcpts", rcpts, "size", (json_int_t)l->fields.n, "message_id", message_id,
                          "origin", "report", "reply", reply));
}

static void on_committed(void *ctx, int error) {
    struct letter *l = ctx;
    if (!error) say_accepted(l);
    l->committed(l->ctx, error);
    letter_destroy(l);
}

void letter_commit(struct letter *l, void (*done)(void *ctx, int error), void *ctx) {
    struct reporter *r = l->reporter;
    char message_id[256];
    snprintf(message_id, sizeof message_id, "<%s@%s>", l->id, r->worker->hostname);
    l->committed = done;
    l->ctx = ctx;
    buf_add_slice(&l->fields, buf_slice(&l->text));
    struct envelope e = {.from = slice_of(r->settings.from),
                         .origin = ORIGIN_REPORT,
                         .size = l->fields.n,
                         .message_id = slice_of(message_id),
                         .received_ms = clock_wall_ms(),
                         .rcpt_count = l->rcpt_count,
                         .rcpts = l->rcpts};
    snprintf(e.id, sizeof e.id, "%s", l->id);
    outbox_commit(r->worker->redis, r->worker->bus, &e, buf_slice(&l->fields), on_committed, l);
}
