#include "libcommon/store/mailbox/mailbox_metadata.h"

#include "libcommon/store/mailbox/mailbox_private.h"
#include "libcommon/store/pending.h"

void metadata_set(struct redis *r, struct slice user, uint32_t folder_id, size_t count,
                  const struct metadata_entry entries[], mailbox_done_fn *done, void *ctx) {
    char id[NUMBER_BYTES], *key = mailbox_key(user);
    struct slice args[1 + 3 * METADATA_AT_ONCE_MAX];
    size_t argc = 0;
    args[argc++] = mailbox_number(id, folder_id);
    for (size_t i = 0; i < count && i < METADATA_AT_ONCE_MAX; i++) {
        args[argc++] = entries[i].name;
        args[argc++] = entries[i].removed ? SLICE("0") : SLICE("1");
        args[argc++] = entries[i].removed ? SLICE("") : entries[i].value;
    }
    mailbox_fcall(r, pending_on_done, PENDING(done, ctx), "metadata_set", key, argc, args);
    free(key);
}

static void on_entries(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = mailbox_reply_array(reply, 0);
    size_t count = error ? 0 : reply->elements / 3;
    struct metadata_entry *entries = memory_alloc((count + 1) * sizeof *entries);
    for (size_t i = 0; i < count; i++)
        entries[i] = (struct metadata_entry){.folder_id = (uint32_t)redis_reply_integer(reply->element[3 * i]),
                                             .name = redis_reply_slice(reply->element[3 * i + 1]),
                                             .value = redis_reply_slice(reply->element[3 * i + 2])};
    ((metadata_fn *)p.done)(p.ctx, error, count, entries);
    free(entries);
}

static void get(struct redis *r, struct slice user, struct slice folder, int depth, size_t count,
                const struct slice names[], metadata_fn *done, void *ctx) {
    char levels[NUMBER_BYTES], *key = mailbox_key(user);
    struct slice args[2 + METADATA_AT_ONCE_MAX];
    args[0] = folder;
    args[1] = mailbox_number(levels, depth);
    if (count > METADATA_AT_ONCE_MAX) count = METADATA_AT_ONCE_MAX;
    for (size_t i = 0; i < count; i++) args[i + 2] = names[i];
    mailbox_fcall(r, on_entries, PENDING(done, ctx), "metadata_get", key, count + 2, args);
    free(key);
}

void metadata_get(struct redis *r, struct slice user, uint32_t folder_id, int depth, size_t count,
                  const struct slice names[], metadata_fn *done, void *ctx) {
    char id[NUMBER_BYTES];
    get(r, user, mailbox_number(id, folder_id), depth, count, names, done, ctx);
}

void metadata_get_all(struct redis *r, struct slice user, size_t count, const struct slice names[], metadata_fn *done,
                      void *ctx) {
    get(r, user, SLICE("*"), 0, count, names, done, ctx);
}
