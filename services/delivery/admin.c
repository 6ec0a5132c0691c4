/* delivery.queue.*: what people see and do with the queue. */
#include <stdlib.h>

#include "libcommon/store/blob.h"
#include "services/delivery/delivery.h"

enum { LIST_MAX = 500 };

struct listing {
    struct delivery *delivery;
    struct bus_call *call;
    json_t *entries;
    size_t limit;
    int shard;
};

struct change {
    struct delivery *delivery;
    struct bus_call *call;
    char id[ULID_BYTES];
    bool deleting;
};

static void list_next(struct listing *l);

static void on_listed(void *ctx, int error, size_t count, const struct slice ids[], json_t *const envelopes[]) {
    struct listing *l = ctx;
    if (error) {
        bus_refuse(l->call, "unavailable", "the store cannot be reached: try again");
        json_decref(l->entries);
        free(l);
        return;
    }
    for (size_t i = 0; i < count && json_array_size(l->entries) < l->limit; i++) {
        json_t *entry = json_pack(
            "{s:s%,s:O,s:O,s:O,s:O,s:O}", "id", ids[i].p, ids[i].n, "from", json_object_get(envelopes[i], "from"),
            "received", json_object_get(envelopes[i], "received"), "size", json_object_get(envelopes[i], "size"),
            "origin", json_object_get(envelopes[i], "origin"), "rcpts", json_object_get(envelopes[i], "rcpts"));
        if (entry) json_array_append_new(l->entries, entry);
    }
    l->shard++;
    list_next(l);
}

static void list_next(struct listing *l) {
    if (l->shard < QUEUE_SHARDS && json_array_size(l->entries) < l->limit) {
        queue_list(l->delivery->worker->redis, l->shard, 0, l->limit, on_listed, l);
        return;
    }
    bus_answer(l->call, json_pack("{s:o}", "entries", l->entries));
    free(l);
}

static void on_list(void *ctx, struct bus_call *call, const json_t *ask) {
    struct listing *l = memory_alloc(sizeof *l);
    json_int_t limit = json_integer_value(json_object_get(ask, "limit"));
    *l = (struct listing){ctx, call, json_array(), limit > 0 && limit < LIST_MAX ? (size_t)limit : LIST_MAX, 0};
    list_next(l);
}

static void on_changed(void *ctx, int error) {
    struct change *c = ctx;
    if (error == STORE_NOT_FOUND) {
        bus_refuse(c->call, "not_found", "there is no such message in the queue");
    } else if (error) {
        bus_refuse(c->call, "unavailable", "the store cannot be reached: try again");
    } else {
        if (c->deleting)
            blob_release(c->delivery->worker->redis, slice_of(c->id), "q", NULL, NULL);
        else
            scheduler_want(c->delivery, queue_shard_of(slice_of(c->id)));
        bus_answer(c->call, json_object());
    }
    free(c);
}

static void change(struct delivery *d, struct bus_call *call, const json_t *ask, bool deleting) {
    struct slice id = slice_of(json_string_value(json_object_get(ask, "id")));
    if (!ulid_is_valid(id)) {
        bus_refuse(call, "invalid", "id is a message id of 26 letters and digits");
        return;
    }
    struct change *c = memory_alloc(sizeof *c);
    c->delivery = d;
    c->call = call;
    c->deleting = deleting;
    memcpy(c->id, id.p, ULID_BYTES);
    if (deleting)
        queue_delete(d->worker->redis, id, on_changed, c);
    else
        queue_retry(d->worker->redis, id, on_changed, c);
}

static void on_retry(void *ctx, struct bus_call *call, const json_t *ask) { change(ctx, call, ask, false); }
static void on_delete(void *ctx, struct bus_call *call, const json_t *ask) { change(ctx, call, ask, true); }

void admin_start(struct delivery *d) {
    bus_serve(d->worker->bus, "queue.list", on_list, d);
    bus_serve(d->worker->bus, "queue.retry", on_retry, d);
    bus_serve(d->worker->bus, "queue.delete", on_delete, d);
}
