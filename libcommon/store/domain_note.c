#include "libcommon/store/domain_note.h"

#include <stdio.h>

#include "libcommon/store/pending.h"

enum { KEY_BYTES = 320 };

static struct slice note_key(char out[KEY_BYTES], enum domain_note kind, const char *domain) {
    static const char *const names[] = {"published", "check", "sts"};
    int n = snprintf(out, KEY_BYTES, "v:%s:%s", names[kind], domain);
    return slice_make(out, (size_t)n < KEY_BYTES ? (size_t)n : KEY_BYTES - 1);
}

void domain_note_write(struct redis *r, enum domain_note kind, const char *domain, struct slice text, int64_t keep_ms,
                       domain_note_done_fn *done, void *ctx) {
    char key[KEY_BYTES], ms[DECIMAL_BYTES];
    struct slice argv[] = {SLICE("SET"), note_key(key, kind, domain), text, SLICE("PX"), decimal(ms, keep_ms)};
    redis_command(r, pending_on_done, PENDING(done, ctx), keep_ms ? 5 : 3, argv);
}

static void on_read(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    if (!error && reply->type == REDIS_REPLY_NIL) error = STORE_NOT_FOUND;
    ((domain_note_read_fn *)p.done)(p.ctx, error, error ? SLICE("") : redis_reply_slice(reply));
}

void domain_note_read(struct redis *r, enum domain_note kind, const char *domain, domain_note_read_fn *done,
                      void *ctx) {
    char key[KEY_BYTES];
    struct slice argv[] = {SLICE("GET"), note_key(key, kind, domain)};
    redis_command(r, on_read, PENDING(done, ctx), 2, argv);
}

void domain_note_delete(struct redis *r, enum domain_note kind, const char *domain, domain_note_done_fn *done,
                        void *ctx) {
    char key[KEY_BYTES];
    struct slice argv[] = {SLICE("DEL"), note_key(key, kind, domain)};
    redis_command(r, pending_on_done, PENDING(done, ctx), 2, argv);
}
