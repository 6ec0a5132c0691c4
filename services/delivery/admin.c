/* delivery.queue.*: the administration of the queue. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/log.h"
#include "libcommon/store/blob.h"
#include "libcommon/store/queue.h"
#include "services/delivery/delivery.h"
#include "services/delivery/scheduler.h"

enum { LIST_MAX = 500, DOMAIN_MAX = 256 };

static json_t *text_of(struct slice s) { return json_stringn_nocheck(s.p ? s.p : "", s.n); }
static void add_text(json_t *object, const char *name, struct slice s) {
    if (s.n) json_object_set_new(object, name, text_of(s));
}

/* Listing */

struct listing {
    struct delivery *delivery;
    struct bus_call *call;
    json_t *entries;
    enum queue_index which;
    char domain[DOMAIN_MAX];
    size_t limit, offset; /* offset: in the shard */
    int shard;
};

static json_t *rcpt_view(const struct envelope_rcpt *r) {
    static const char *const states[] = {"due", "deferred", "delivered", "sent", "bounced"};
    static const char *const reports[] = {"", "failed", "delayed", "delivered", "relayed"};
    json_t *o =
        json_pack("{s:o,s:s,s:i}", "address", text_of(r->address), "state", states[r->state], "attempts", r->attempts);
    add_text(o, "user", r->user);
    add_text(o, "from", r->from);
    add_text(o, "orcpt", r->orcpt);
    add_text(o, "notify", r->notify);
    add_text(o, "enhanced", r->enhanced);
    add_text(o, "last_reply", r->reply);
    add_text(o, "host", r->host);
    if (r->code) json_object_set_new(o, "code", json_integer(r->code));
    if (r->next_ms) json_object_set_new(o, "next", json_integer(r->next_ms));
    if (r->owed != REPORT_NONE) json_object_set_new(o, "owed", json_string(reports[r->owed]));
    if (r->warned) json_object_set_new(o, "warned", json_true());
    return o;
}

static json_t *entry_view(const struct queue_view *v) {
    static const char *const origins[] = {"submission", "mx", "bounce", "report"};
    const struct envelope *e = v->envelope;
    json_t *rcpts = json_array();
    for (size_t i = 0; i < e->rcpt_count; i++) json_array_append_new(rcpts, rcpt_view(&e->rcpts[i]));
    json_t *entry =
        json_pack("{s:s,s:o,s:I,s:I,s:s,s:I,s:b,s:b,s:i,s:o}", "id", e->id, "from", text_of(e->from), "received",
                  (json_int_t)e->received_ms, "size", (json_int_t)e->size, "origin", origins[e->origin], "due",
                  (json_int_t)v->due_ms, "leased", v->leased, "held", v->held, "priority", e->priority, "rcpts", rcpts);
    if (v->held) add_text(entry, "held_because", e->hold);
    return entry;
}

static void list_next(struct listing *l);

static void on_listed(void *ctx, int error, size_t count, const struct queue_view views[]) {
    struct listing *l = ctx;
    if (error) {
        bus_refuse(l->call, "unavailable", "the store cannot be reached: try again");
        json_decref(l->entries);
        free(l);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        json_t *entry = entry_view(&views[i]);
        if (entry) json_array_append_new(l->entries, entry);
    }
    if (json_array_size(l->entries) >= l->limit) {
        l->offset += count;
    } else {
        l->shard++;
        l->offset = 0;
    }
    list_next(l);
}

static void list_next(struct listing *l) {
    size_t have = json_array_size(l->entries);
    char next[32];
    if (l->shard < QUEUE_SHARDS && have < l->limit) {
        queue_list(l->delivery->worker->redis, l->shard, l->which, slice_of(l->domain), l->offset, l->limit - have,
                   on_listed, l);
        return;
    }
    snprintf(next, sizeof next, "%d.%zu", l->shard, l->offset);
    bus_answer(l->call, json_pack("{s:o,s:s?}", "entries", l->entries, "next", l->shard < QUEUE_SHARDS ? next : NULL));
    free(l);
}

static void on_list(void *ctx, struct bus_call *call, const json_t *ask) {
    json_int_t limit = json_integer_value(json_object_get(ask, "limit"));
    const char *after = json_string_value(json_object_get(ask, "after")),
               *domain = json_string_value(json_object_get(ask, "domain")),
               *which = json_string_value(json_object_get(ask, "which"));
    struct listing *l = memory_alloc(sizeof *l);
    *l = (struct listing){.delivery = ctx,
                          .call = call,
                          .entries = json_array(),
                          .limit = limit > 0 && limit < LIST_MAX ? (size_t)limit : LIST_MAX};
    l->which = which && strcmp(which, "held") == 0   ? QUEUE_HELD
               : which && strcmp(which, "dead") == 0 ? QUEUE_DEAD
                                                     : QUEUE_BY_DUE;
    snprintf(l->domain, sizeof l->domain, "%s", domain ? domain : "");
    struct slice place = slice_of(after), shard;
    uint64_t a, b;
    if (slice_cut(&place, '.', &shard) && slice_to_u64(shard, QUEUE_SHARDS, &a) == 0 &&
        slice_to_u64(place, 1000000000, &b) == 0) {
        l->shard = (int)a;
        l->offset = (size_t)b;
    }
    list_next(l);
}

/* Changing one */

struct change {
    struct delivery *delivery;
    struct bus_call *call;
    char id[ULID_BYTES];
    bool look; /* there may be work to do now */
};

static void refuse(struct bus_call *call, int error) {
    if (error == STORE_NOT_FOUND)
        bus_refuse(call, "not_found", "there is no such message in the queue");
    else
        bus_refuse(call, "unavailable", "the store cannot be reached: try again");
}

static void on_changed(void *ctx, int error) {
    struct change *c = ctx;
    if (error) {
        refuse(c->call, error);
    } else {
        if (c->look) scheduler_want(c->delivery->scheduler, queue_shard_of(slice_of(c->id)));
        bus_answer(c->call, json_object());
    }
    free(c);
}

static struct change *change_create(struct delivery *d, struct bus_call *call, const json_t *ask) {
    struct slice id = slice_of(json_string_value(json_object_get(ask, "id")));
    if (!ulid_is_valid(id)) {
        bus_refuse(call, "invalid", "id is a message id of 26 letters and digits");
        return NULL;
    }
    struct change *c = memory_alloc(sizeof *c);
    c->delivery = d;
    c->call = call;
    memcpy(c->id, id.p, ULID_BYTES - 1);
    return c;
}

static void on_hold(void *ctx, struct bus_call *call, const json_t *ask) {
    struct change *c = change_create(ctx, call, ask);
    if (c) queue_hold(c->delivery->worker->redis, slice_of(c->id), true, on_changed, c);
}

static void on_release(void *ctx, struct bus_call *call, const json_t *ask) {
    struct change *c = change_create(ctx, call, ask);
    if (!c) return;
    c->look = true;
    queue_hold(c->delivery->worker->redis, slice_of(c->id), false, on_changed, c);
}

static void on_priority(void *ctx, struct bus_call *call, const json_t *ask) {
    json_int_t priority = json_integer_value(json_object_get(ask, "priority"));
    if (priority < -9 || priority > 9) {
        bus_refuse(call, "invalid", "priority is a number from -9 to 9");
        return;
    }
    struct change *c = change_create(ctx, call, ask);
    if (c) queue_set_priority(c->delivery->worker->redis, slice_of(c->id), (int)priority, on_changed, c);
}

/* Deleting */

static void on_body_released(void *ctx, int error) {
    struct change *c = ctx;
    if (error && error != STORE_NOT_FOUND)
        log_warn("the body of a deleted message could not be released; the janitor finds it", "id", c->id, "reason",
                 store_error_text(error), NULL);
    bus_answer(c->call, json_object());
    free(c);
}

static void on_deleted(void *ctx, int error, size_t count, struct envelope *const entries[]) {
    static const struct slice queue_ref = {BLOB_REF_QUEUE, sizeof BLOB_REF_QUEUE - 1};
    struct change *c = ctx;
    if (error) {
        refuse(c->call, error);
        free(c);
        return;
    }
    json_t *rcpts = json_array();
    for (size_t i = 0; count && i < entries[0]->rcpt_count; i++) {
        const struct envelope_rcpt *r = &entries[0]->rcpts[i];
        if (r->state == RCPT_DUE || r->state == RCPT_DEFERRED) json_array_append_new(rcpts, text_of(r->address));
    }
    log_info("a message was deleted from the queue", "id", c->id, NULL);
    bus_publish(c->delivery->worker->bus, "mail.deleted", slice_of(c->id),
                json_pack("{s:o,s:o}", "from", count ? text_of(entries[0]->from) : json_string(""), "rcpts", rcpts));
    bool removed = count && entries[0]->text_in_queue; /* its text, with the entry */
    for (size_t i = 0; i < count; i++) envelope_destroy(entries[i]);
    if (removed)
        on_body_released(c, 0);
    else
        blob_release(c->delivery->worker->redis, slice_of(c->id), 1, &queue_ref, on_body_released, c);
}

static void on_delete(void *ctx, struct bus_call *call, const json_t *ask) {
    struct change *c = change_create(ctx, call, ask);
    if (c) queue_delete(c->delivery->worker->redis, slice_of(c->id), on_deleted, c);
}

/* Trying again */

struct domain_retry {
    struct delivery *delivery;
    struct bus_call *call;
    char domain[DOMAIN_MAX];
    int shard, error;
    json_int_t entries;
};

static void on_domain_retried(void *ctx, int result) {
    struct domain_retry *r = ctx;
    if (result < 0)
        r->error = result;
    else
        r->entries += result;
    scheduler_want(r->delivery->scheduler, r->shard);
    if (++r->shard < QUEUE_SHARDS && !r->error) {
        queue_retry_domain(r->delivery->worker->redis, r->shard, slice_of(r->domain), on_domain_retried, r);
        return;
    }
    if (r->error)
        refuse(r->call, r->error);
    else
        bus_answer(r->call, json_pack("{s:I}", "entries", r->entries));
    free(r);
}

static void on_retry(void *ctx, struct bus_call *call, const json_t *ask) {
    struct delivery *d = ctx;
    const char *domain = json_string_value(json_object_get(ask, "domain"));
    if (!domain) {
        struct change *c = change_create(d, call, ask);
        if (!c) return;
        c->look = true;
        queue_retry(d->worker->redis, slice_of(c->id), on_changed, c);
        return;
    }
    struct domain_retry *r = memory_alloc(sizeof *r);
    r->delivery = d;
    r->call = call;
    snprintf(r->domain, sizeof r->domain, "%s", domain);
    queue_retry_domain(d->worker->redis, 0, slice_of(r->domain), on_domain_retried, r);
}

void admin_start(struct delivery *d) {
    bus_serve(d->worker->bus, "queue.list", on_list, d);
    bus_serve(d->worker->bus, "queue.retry", on_retry, d);
    bus_serve(d->worker->bus, "queue.hold", on_hold, d);
    bus_serve(d->worker->bus, "queue.release", on_release, d);
    bus_serve(d->worker->bus, "queue.priority", on_priority, d);
    bus_serve(d->worker->bus, "queue.delete", on_delete, d);
}
