/* Reads answers of the queue's Functions as envelopes. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/store/queue/queue_private.h"

static const redisReply *list_at(const redisReply *entry, size_t at) {
    const redisReply *list = entry->elements > at ? entry->element[at] : NULL;
    return list && list->type == REDIS_REPLY_ARRAY ? list : NULL;
}

/* {index, state, …} */
static int read_states(struct envelope *e, const redisReply *list) {
    for (size_t i = 0; list && i + 1 < list->elements; i += 2) {
        uint64_t index;
        if (slice_to_u64(redis_reply_slice(list->element[i]), ENVELOPE_RCPTS_MAX, &index) != 0) return -1;
        if (envelope_decode_state(e, (size_t)index, redis_reply_slice(list->element[i + 1])) != 0) return -1;
    }
    return 0;
}

/* {"<domain> <index>", next ms, …}: these times override those of the states, because a retry
 * changes only them. */
static int read_times(struct envelope *e, const redisReply *list) {
    for (size_t i = 0; list && i + 1 < list->elements; i += 2) {
        struct slice member = redis_reply_slice(list->element[i]);
        uint64_t index;
        if (slice_to_u64(slice_skip(member, (size_t)(slice_find_last(member, ' ') + 1)), ENVELOPE_RCPTS_MAX, &index) ||
            index >= e->rcpt_count)
            return -1;
        e->rcpts[index].next_ms = redis_reply_integer(list->element[i + 1]);
    }
    return 0;
}

static struct envelope *unreadable(struct slice id) {
    struct arena *arena = arena_create();
    struct envelope *e = arena_alloc(arena, sizeof *e);
    e->arena = arena;
    e->from = e->message_id = e->ret = e->envid = e->folder = SLICE("");
    snprintf(e->id, sizeof e->id, "%.*s", SLICE_FMT(id));
    return e;
}

struct envelope *queue_read(const redisReply *entry, bool *damaged) {
    *damaged = false;
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements < 5) {
        *damaged = true;
        return unreadable(SLICE(""));
    }
    char id[ULID_BYTES];
    snprintf(id, sizeof id, "%.*s", SLICE_FMT(redis_reply_slice(entry->element[0])));
    struct envelope *e = envelope_decode(id, redis_reply_slice(entry->element[1]));
    if (e && read_states(e, list_at(entry, 3)) == 0 && read_times(e, list_at(entry, 4)) == 0) {
        e->priority = (int)redis_reply_integer(entry->element[2]);
        return e;
    }
    envelope_destroy(e);
    *damaged = true;
    return unreadable(slice_of(id));
}

size_t queue_elements(const redisReply *reply, int error) {
    if (error || reply->type != REDIS_REPLY_ARRAY) return 0;
    return reply->elements < QUEUE_LEASE_MAX ? reply->elements : QUEUE_LEASE_MAX;
}
