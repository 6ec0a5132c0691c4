/* A leased entry: parts its due recipients into local ones and remote domains, and records how each try ended. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/mail/domain.h"
#include "libcommon/store/blob.h"
#include "services/delivery/bounce.h"
#include "services/delivery/delivery.h"

json_t *entry_rcpt(const struct entry *e, size_t index) {
    return json_array_get(json_object_get(e->envelope, "rcpts"), index);
}

const char *entry_reverse_path(const struct entry *e, size_t index) {
    const char *own = json_string_value(json_object_get(entry_rcpt(e, index), "from"));
    const char *from = own ? own : json_string_value(json_object_get(e->envelope, "from"));
    return from ? from : "";
}

void entry_destroy(struct entry *e) {
    struct delivery *d = e->delivery;
    if (e->previous)
        e->previous->next = e->next;
    else
        d->entries = e->next;
    if (e->next) e->next->previous = e->previous;
    d->in_flight--;
    metric_set(&delivery_in_work, (int64_t)d->in_flight);
    int shard = queue_shard_of(slice_of(e->id));
    json_decref(e->envelope);
    free(e);
    if (d->shards[shard].wanted) scheduler_want(d, shard); /* it had to wait for room */
    scheduler_check_drained(d);
}

static bool is_due(const json_t *rcpt, int64_t now) {
    const char *state = json_string_value(json_object_get(rcpt, "state"));
    return state && (strcmp(state, "due") == 0 ||
                     (strcmp(state, "deferred") == 0 && json_integer_value(json_object_get(rcpt, "next")) <= now));
}

/* Nothing of it is in work. */
static void release_part(struct entry *e) {
    if (--e->outstanding == 0) entry_destroy(e);
}

/* Starts the recipients that are due at `now`: each local one by itself, those of one domain elsewhere and with one
 * reverse-path together. */
static void start_parts(struct entry *e, int64_t now) {
    size_t count = json_array_size(json_object_get(e->envelope, "rcpts"));
    bool *taken = memory_alloc(count + 1);
    size_t *group = memory_alloc((count + 1) * sizeof *group);
    for (size_t i = 0; i < count; i++) {
        json_t *rcpt = entry_rcpt(e, i);
        const char *address = json_string_value(json_object_get(rcpt, "address"));
        if (taken[i] || !is_due(rcpt, now) || !address) continue;
        e->outstanding++;
        if (json_is_string(json_object_get(rcpt, "user"))) {
            local_deliver(e, i);
            continue;
        }
        struct slice domain = slice_skip(slice_of(address), (size_t)(slice_find_last(slice_of(address), '@') + 1));
        size_t n = 0;
        for (size_t k = i; k < count; k++) {
            const json_t *other = entry_rcpt(e, k);
            struct slice a = slice_of(json_string_value(json_object_get(other, "address")));
            if (json_is_string(json_object_get(other, "user")) || !is_due(other, now) ||
                !slice_equal_nocase(slice_skip(a, (size_t)(slice_find_last(a, '@') + 1)), domain) ||
                strcmp(entry_reverse_path(e, k), entry_reverse_path(e, i)) != 0)
                continue;
            taken[k] = true;
            group[n++] = k;
        }
        attempt_start(e, domain.p, n, group);
    }
    free(group);
    free(taken);
}

void entry_start(struct delivery *d, struct slice id, json_t *envelope) {
    struct entry *e = memory_alloc(sizeof *e);
    e->delivery = d;
    memcpy(e->id, id.p, id.n < ULID_BYTES ? id.n : ULID_BYTES - 1);
    e->envelope = json_incref(envelope);
    e->next = d->entries;
    if (e->next) e->next->previous = e;
    d->entries = e;
    d->in_flight++;
    metric_set(&delivery_in_work, (int64_t)d->in_flight);
    e->outstanding = 1;                                  /* held while its parts are started */
    start_parts(e, clock_wall_ms() + DELIVERY_CLOCK_MS); /* what is due in a moment goes along */
    if (e->outstanding == 1)
        start_parts(e, INT64_MAX); /* the entry is due though no recipient is: somebody asked for a retry */
    release_part(e);
}

/* Settling
 * -----------------------------------------------------------------------------------------------------------------------------------
 */

struct settling {
    struct entry *entry;
    json_t *changes;
};

static void on_updated(void *ctx, int error) {
    struct settling *s = ctx;
    struct entry *e = s->entry;
    struct delivery *d = e->delivery;
    if (error < 0)
        log_warn("an outcome could not be recorded; the lease runs out and it is tried again", "id", e->id, "reason",
                 store_error_text(error), NULL);
    if (error == 1) blob_release(d->worker->redis, slice_of(e->id), "q", NULL, NULL);
    json_decref(s->changes);
    free(s);
    e->settling--;
    release_part(e);
}

static void record(struct settling *s) {
    queue_update(s->entry->delivery->worker->redis, slice_of(s->entry->id), s->changes,
                 s->entry->outstanding > s->entry->settling, on_updated, s);
}

/* The reports are in the queue, or none was needed: now the states (law 2: in this order, and twice changes nothing).
 */
static void on_reported(void *ctx, int error) {
    struct settling *s = ctx;
    struct entry *e = s->entry;
    if (!error) {
        record(s);
        return;
    }
    log_warn("a report could not be queued; the lease runs out and it is tried again", "id", e->id, "reason",
             store_error_text(error), NULL);
    json_decref(s->changes);
    free(s);
    e->settling--;
    release_part(e);
}

static const char *const state_names[] = {"delivered", "sent", "deferred", "bounced"};
static struct metric *const state_metrics[] = {&delivery_delivered, &delivery_sent, &delivery_deferred,
                                               &delivery_bounced};

static void tell(const struct entry *e, const json_t *rcpt, const struct outcome *o, int64_t next, int attempts) {
    char when[CLOCK_TEXT_BYTES];
    const char *address = json_string_value(json_object_get(rcpt, "address"));
    struct slice domain = slice_skip(slice_of(address), (size_t)(slice_find_last(slice_of(address), '@') + 1));
    json_t *data = NULL;
    const char *event = "mail.sent";
    if (o->kind == OUTCOME_SENT) {
        data = json_pack("{s:s,s:s,s:s,s:i,s:s,s:s}", "rcpt", address, "domain", domain.p, "host", o->host, "code",
                         o->code, "enhanced", o->enhanced, "reply", o->reason);
        if (data && o->details) json_object_update(data, (json_t *)(uintptr_t)o->details);
    } else if (o->kind == OUTCOME_DEFERRED) {
        event = "mail.deferred";
        data = json_pack("{s:s,s:i,s:s,s:s,s:i,s:s,s:s}", "rcpt", address, "attempt", attempts, "next",
                         clock_rfc3339(next, when), "host", o->host, "code", o->code, "enhanced", o->enhanced, "reason",
                         o->reason);
    } else if (o->kind == OUTCOME_BOUNCED) {
        event = "mail.bounced";
        data = json_pack("{s:s,s:s,s:i,s:s,s:s,s:n}", "rcpt", address, "host", o->host, "code", o->code, "enhanced",
                         o->enhanced, "reason", o->reason, "dsn");
    }
    const char *from = json_string_value(json_object_get(rcpt, "from"));
    if (o->kind == OUTCOME_SENT && data && from) json_object_set_new(data, "from", json_string(from));
    if (o->kind != OUTCOME_DELIVERED && data)
        bus_publish(e->delivery->worker->bus, event, slice_of(e->id),
                    data); /* mail.delivered is the mailbox's to say */
    if (o->kind != OUTCOME_DELIVERED || log_level_enabled(LOG_DEBUG))
        log_info(state_names[o->kind], "id", e->id, "rcpt", address, "host", o->host, "enhanced", o->enhanced, "reason",
                 o->reason, NULL);
}

void entry_settle(struct entry *e, size_t count, const size_t indexes[], const struct outcome outcomes[]) {
    struct delivery *d = e->delivery;
    struct settling *s = memory_alloc(sizeof *s);
    int64_t now = clock_wall_ms(), received = json_integer_value(json_object_get(e->envelope, "received"));
    struct report *reports = memory_alloc(count * sizeof *reports);
    size_t report_count = 0;
    s->entry = e;
    e->settling++;
    s->changes = json_object();
    for (size_t i = 0; i < count; i++) {
        struct outcome o = outcomes[i];
        json_t *rcpt = entry_rcpt(e, indexes[i]);
        int attempts = (int)json_integer_value(json_object_get(rcpt, "attempts")) + 1;
        int64_t next = now + (o.retry_ms ? o.retry_ms : retry_pause_ms(&d->policy, attempts, randombytes_random()));
        if (o.kind == OUTCOME_DEFERRED && retry_is_expired(&d->policy, received, now))
            o.kind = OUTCOME_BOUNCED; /* RFC 5321 §4.5.4.1 */
        metric_add(state_metrics[o.kind], 1);
        char key[24];
        snprintf(key, sizeof key, "%zu", indexes[i]);
        json_t *change =
            json_pack("{s:s,s:i,s:s,s:s,s:I}", "state", state_names[o.kind], "attempts", attempts, "enhanced",
                      o.enhanced, "last_reply", o.reason, "next", (json_int_t)(o.kind == OUTCOME_DEFERRED ? next : 0));
        if (!change)
            change = json_pack("{s:s,s:i,s:s,s:s,s:I}", "state", state_names[o.kind], "attempts", attempts, "enhanced",
                               o.enhanced, "last_reply", "(the reply was not UTF-8)", "next", (json_int_t)next);
        bool warned = json_is_true(json_object_get(rcpt, "warned"));
        enum report_kind kind = report_wanted(rcpt, &o, now - received, &d->policy, warned);
        if (kind == REPORT_DELAYED || warned) json_object_set_new(change, "warned", json_true());
        if (kind != REPORT_NONE) reports[report_count++] = (struct report){kind, indexes[i], o};
        tell(e, rcpt, &o, next, attempts);
        json_object_update(rcpt, change);
        json_object_set_new(s->changes, key, change);
    }
    if (report_count)
        bounce_send(e, report_count, reports, on_reported, s);
    else
        record(s);
    free(reports);
}
