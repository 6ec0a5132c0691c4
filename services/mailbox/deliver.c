/* Step 8: a message that the queue holds gets into a mailbox, once per message and recipient however often it is asked
 * (law 2). The body is read once, with the mailbox's reference on it taken in the same step; what listings need is
 * worked out from it; one Function does the rest. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/store/blob.h"
#include "services/mailbox/mailbox_service.h"

enum { ADDRESS_MAX = 400 }; /* a path is at most 256 (RFC 5321 §4.5.3.1.3); with room for MAILBOX_REF_MAX */

static struct metric delivered = METRIC_COUNTER("postbus_mailbox_delivered_total", "Messages put into mailboxes");
static struct metric duplicates =
    METRIC_COUNTER("postbus_mailbox_duplicate_deliveries_total", "Deliveries asked for that had happened before");
static struct metric refused =
    METRIC_COUNTER("postbus_mailbox_refused_deliveries_total", "Deliveries that did not happen");

struct delivery {
    struct mailbox_worker *m;
    struct bus_call *call;
    struct arena *arena;
    struct slice id, rcpt, user, from, folder;
    bool is_read;
    int64_t started_us;
};

static void end(struct delivery *d) {
    struct mailbox_worker *m = d->m;
    arena_destroy(d->arena);
    free(d);
    requests_end(m);
}

static void refuse(struct delivery *d, int error) {
    log_info("not delivered", "id", d->id.p, "rcpt", d->rcpt.p, "user", d->user.p, "reason", store_error_text(error),
             NULL);
    metric_add(&refused, 1);
    refuse_store_error(d->call, error);
    end(d);
}

static void on_delivered(void *ctx, int error, uint32_t folder, uint32_t uid, uint64_t modseq, bool duplicate) {
    struct delivery *d = ctx;
    if (error) {
        /* The reference taken with the read stays when nobody knows whether it happened; else it goes. */
        char ref[MAILBOX_REF_MAX];
        if (error != STORE_UNAVAILABLE)
            blob_release(d->m->worker->redis, d->id, mailbox_blob_ref(ref, d->user, d->rcpt), NULL, NULL);
        refuse(d, error);
        return;
    }
    metric_add(duplicate ? &duplicates : &delivered, 1);
    const char *name = d->folder.n ? d->folder.p : "INBOX";
    /* Also after a duplicate: the one who did it may have died before he could say so. */
    bus_publish(d->m->worker->bus, "mail.delivered", d->id,
                json_pack("{s:s, s:s, s:s, s:I, s:I}", "rcpt", d->rcpt.p, "user", d->user.p, "folder", name, "uid",
                          (json_int_t)uid, "modseq", (json_int_t)modseq));
    say_changed(d->m, d->user, folder, modseq, "delivered");
    bus_answer(d->call, json_pack("{s:s, s:I, s:I, s:b}", "folder", name, "uid", (json_int_t)uid, "modseq",
                                  (json_int_t)modseq, "duplicate", duplicate));
    if (log_level_enabled(LOG_DEBUG)) {
        char took[32];
        snprintf(took, sizeof took, "%lld", (long long)(clock_monotonic_us() - d->started_us));
        log_debug("delivered", "id", d->id.p, "rcpt", d->rcpt.p, "user", d->user.p, "folder", name, "microseconds",
                  took, NULL);
    }
    end(d);
}

static void on_read(void *ctx, int error, struct slice message) {
    struct delivery *d = ctx;
    if (error == STORE_NOT_FOUND)
        error = STORE_UNAVAILABLE; /* of the message, not of the user: never a reason to bounce */
    if (error) {
        refuse(d, error);
        return;
    }
    char *prefix = arena_printf(d->arena, "Return-Path: <%s>\r\nDelivered-To: %s\r\n", d->from.p, d->rcpt.p);
    struct mailbox_delivery delivery = {.id = d->id,
                                        .rcpt = d->rcpt,
                                        .folder = d->folder,
                                        .prefix = slice_of(prefix),
                                        .message = message,
                                        .date = clock_wall_ms() / 1000};
    mailbox_deliver(d->m->worker->redis, d->user, &delivery, on_delivered, d);
}

/* No control characters, so that an address can neither end a trace header nor a line of ours. */
static bool is_address(struct slice s) {
    if (s.n > ADDRESS_MAX) return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f) return false;
    return true;
}

static void on_ask(void *ctx, struct bus_call *call, const json_t *ask) {
    struct mailbox_worker *m = ctx;
    struct slice user = ask_text(ask, "user"), id = ask_text(ask, "id"), rcpt = ask_text(ask, "rcpt"),
                 from = ask_text(ask, "from");
    char ref[MAILBOX_REF_MAX];
    if (!ulid_is_valid(id) || rcpt.n == 0 || !is_address(rcpt) || !is_address(from)) {
        bus_refuse(call, "invalid", "id must be a message id, rcpt an address, from an address or empty");
        return;
    }
    if (!ulid_is_valid(user)) {
        bus_refuse(call, "not_found", "there is no such user");
        return;
    }
    if (!requests_begin(m, call)) return;
    struct delivery *d = memory_alloc(sizeof *d);
    d->m = m;
    d->call = call;
    d->arena = arena_create();
    d->id = arena_slice(d->arena, id);
    d->rcpt = arena_slice(d->arena, rcpt);
    d->user = arena_slice(d->arena, user);
    d->from = arena_slice(d->arena, from);
    d->folder = arena_slice(d->arena, ask_text(ask, "folder"));
    d->started_us = clock_monotonic_us();
    blob_read(m->worker->redis, d->id, mailbox_blob_ref(ref, d->user, d->rcpt), on_read, d);
}

void deliver_serve(struct mailbox_worker *m) { bus_serve(m->worker->bus, "deliver", on_ask, m); }
