/* A secret of all replicas of the accounts service, made by the first that needs it. */
#include <sodium.h>

#include "libcommon/base/arena.h"
#include "libcommon/store/account/account_private.h"

static const struct slice key = {"a:secret", sizeof "a:secret" - 1};

struct finding {
    struct redis *r;
    account_text_fn *done;
    void *ctx;
    char made[2 * 32 + 1];
    bool offered;
};

static void look(struct finding *f);

static void on_offered(void *ctx, const redisReply *reply) {
    struct finding *f = ctx;
    int error = redis_reply_error(reply);
    if (!error) {
        look(f);
        return;
    }
    f->done(f->ctx, error, SLICE(""));
    free(f);
}

static void on_found(void *ctx, const redisReply *reply) {
    struct finding *f = ctx;
    int error = redis_reply_error(reply);
    struct slice secret = redis_reply_slice(reply);
    if (!error && !secret.n && !f->offered) { /* another replica may offer one at the same time */
        unsigned char bytes[32];
        randombytes_buf(bytes, sizeof bytes);
        sodium_bin2hex(f->made, sizeof f->made, bytes, sizeof bytes);
        struct slice words[] = {SLICE("SET"), key, slice_of(f->made), SLICE("NX")};
        f->offered = true;
        redis_command(f->r, on_offered, f, 4, words);
        return;
    }
    f->done(f->ctx, error || secret.n ? error : STORE_UNAVAILABLE, secret);
    free(f);
}

static void look(struct finding *f) {
    struct slice words[] = {SLICE("GET"), key};
    redis_command(f->r, on_found, f, 2, words);
}

void account_secret(struct redis *r, account_text_fn *done, void *ctx) {
    struct finding *f = memory_alloc(sizeof *f);
    *f = (struct finding){.r = r, .done = done, .ctx = ctx};
    look(f);
}
