/* The janitor's access to the store: its lease, suspected references, and users. */
#include "libcommon/store/mailbox/mailbox_janitor.h"
#include "libcommon/store/mailbox/mailbox_private.h"
#include "libcommon/store/pending.h"

enum { ARGUMENTS_MAX = 1000 };
#define JANITOR_KEY "{janitor}"

static uint64_t number(const redisReply *reply) {
    uint64_t value = 0;
    slice_to_u64(redis_reply_slice(reply), UINT64_MAX, &value);
    return value;
}

static void on_lease(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    struct janitor_state state = {0};
    int error = mailbox_reply_array(reply, 4);
    if (!error) {
        state.round = number(reply->element[0]);
        state.phase = (int)number(reply->element[1]);
        state.cursor = number(reply->element[2]);
        state.next_ms = (int64_t)number(reply->element[3]);
    }
    ((janitor_state_fn *)p.done)(p.ctx, error, &state);
}

void janitor_lease(struct redis *r, const char *token, int64_t lease_ms, janitor_state_fn *done, void *ctx) {
    char ms[NUMBER_BYTES];
    struct slice args[] = {slice_of(token), mailbox_number(ms, lease_ms)};
    mailbox_fcall(r, on_lease, PENDING(done, ctx), "janitor_lease", JANITOR_KEY, 2, args);
}

void janitor_save(struct redis *r, const char *token, int64_t lease_ms, const struct janitor_state *state,
                  mailbox_done_fn *done, void *ctx) {
    char ms[NUMBER_BYTES], round[NUMBER_BYTES], phase[NUMBER_BYTES], cursor[NUMBER_BYTES], next[NUMBER_BYTES];
    int cursor_n = snprintf(cursor, sizeof cursor, "%llu", (unsigned long long)state->cursor);
    struct slice args[] = {slice_of(token),
                           mailbox_number(ms, lease_ms),
                           mailbox_number(round, (int64_t)state->round),
                           mailbox_number(phase, state->phase),
                           slice_make(cursor, (size_t)cursor_n),
                           mailbox_number(next, state->next_ms)};
    mailbox_fcall(r, pending_on_done, PENDING(done, ctx), "janitor_save", JANITOR_KEY, 6, args);
}

void janitor_give_up(struct redis *r, const char *token, mailbox_done_fn *done, void *ctx) {
    struct slice arg = slice_of(token);
    mailbox_fcall(r, pending_on_done, PENDING(done, ctx), "janitor_give_up", JANITOR_KEY, 1, &arg);
}

static void on_suspects(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int64_t first[ARGUMENTS_MAX];
    size_t count = (size_t)p.note;
    int error = mailbox_reply_array(reply, count);
    for (size_t i = 0; !error && i < count; i++) first[i] = (int64_t)number(reply->element[i]);
    ((janitor_suspect_fn *)p.done)(p.ctx, error, error ? 0 : count, first);
}

void janitor_suspect(struct redis *r, uint64_t round, int64_t now_ms, size_t count, const struct slice suspects[],
                     janitor_suspect_fn *done, void *ctx) {
    char round_text[NUMBER_BYTES], now[NUMBER_BYTES];
    struct slice args[ARGUMENTS_MAX + 2] = {mailbox_number(round_text, (int64_t)round), mailbox_number(now, now_ms)};
    struct pending *p = PENDING(done, ctx);
    if (count > ARGUMENTS_MAX) count = ARGUMENTS_MAX;
    p->note = (long long)count;
    for (size_t i = 0; i < count; i++) args[i + 2] = suspects[i];
    mailbox_fcall(r, on_suspects, p, "janitor_suspect", JANITOR_KEY, count + 2, args);
}

static void on_scan(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = mailbox_reply_array(reply, 2);
    const redisReply *list = mailbox_element(reply, 1);
    size_t room = !error && list->type == REDIS_REPLY_ARRAY ? list->elements : 0;
    struct slice *keys = memory_alloc((room + 1) * sizeof *keys);
    for (size_t i = 0; i < room; i++) keys[i] = redis_reply_slice(list->element[i]);
    ((janitor_scan_fn *)p.done)(p.ctx, error, error ? 0 : number(reply->element[0]), room, keys);
    free(keys);
}

void janitor_scan(struct redis *r, uint64_t cursor, janitor_scan_fn *done, void *ctx) {
    char text[NUMBER_BYTES];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)cursor);
    struct slice command[] = {SLICE("SCAN"), slice_make(text, (size_t)n), SLICE("MATCH"), SLICE("{u:*"), SLICE("COUNT"),
                              SLICE("512")};
    redis_command(r, on_scan, PENDING(done, ctx), 6, command);
}

bool janitor_user_of(struct slice key, struct slice *user, struct slice *rest) {
    ptrdiff_t end = slice_find(key, '}');
    if (!slice_starts(key, SLICE("{u:")) || end < 0) return false;
    *user = slice_skip(slice_head(key, (size_t)end), 3);
    *rest = slice_skip(key, (size_t)end + 1);
    return true;
}

static void on_unheld(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    struct slice names[ARGUMENTS_MAX];
    size_t count = 0;
    int error = mailbox_reply_array(reply, 0);
    for (size_t i = 0; !error && i < reply->elements && count < ARGUMENTS_MAX; i++)
        names[count++] = redis_reply_slice(reply->element[i]);
    ((janitor_unheld_fn *)p.done)(p.ctx, error, count, names);
}

void janitor_unheld(struct redis *r, struct slice user, struct slice id, size_t count, const struct slice names[],
                    janitor_unheld_fn *done, void *ctx) {
    char *key = mailbox_key(user);
    struct slice args[ARGUMENTS_MAX + 1] = {id};
    if (count > ARGUMENTS_MAX) count = ARGUMENTS_MAX;
    for (size_t i = 0; i < count; i++) args[i + 1] = names[i];
    mailbox_fcall(r, on_unheld, PENDING(done, ctx), "mailbox_unheld", key, count + 1, args);
    free(key);
}

static void on_look(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    struct janitor_user user = {0};
    int error = mailbox_reply_array(reply, 5);
    if (!error)
        user = (struct janitor_user){.deleted = redis_reply_integer(reply->element[0]) != 0,
                                     .known = redis_reply_integer(reply->element[1]) != 0,
                                     .waiting = redis_reply_integer(reply->element[2]) != 0,
                                     .changed = redis_reply_integer(reply->element[3]) != 0,
                                     .counted = redis_reply_integer(reply->element[4])};
    ((janitor_user_fn *)p.done)(p.ctx, error, &user);
}

void janitor_look(struct redis *r, struct slice user, janitor_user_fn *done, void *ctx) {
    char *key = mailbox_key(user);
    mailbox_fcall(r, on_look, PENDING(done, ctx), "janitor_look", key, 0, NULL);
    free(key);
}

void janitor_unlink(struct redis *r, struct slice user, size_t count, const struct slice rests[], mailbox_done_fn *done,
                    void *ctx) {
    char *key = mailbox_key(user);
    mailbox_fcall(r, pending_on_result, PENDING(done, ctx), "janitor_unlink", key,
                  count < ARGUMENTS_MAX ? count : ARGUMENTS_MAX, rests);
    free(key);
}

void janitor_forget(struct redis *r, struct slice user, size_t max, mailbox_done_fn *done, void *ctx) {
    char text[NUMBER_BYTES], *key = mailbox_key(user);
    struct slice arg = mailbox_number(text, (int64_t)max);
    mailbox_fcall(r, pending_on_result, PENDING(done, ctx), "mailbox_forget", key, 1, &arg);
    free(key);
}
