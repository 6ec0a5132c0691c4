#include "libcommon/store/login.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/log.h"
#include "libcommon/store/pending.h"

enum { KEY_BYTES = 300 };

static struct slice key_of(char out[KEY_BYTES], const char *start, const char *name) {
    int n = snprintf(out, KEY_BYTES, "%s{%s}", start, name);
    return slice_make(out, (size_t)n < KEY_BYTES ? (size_t)n : KEY_BYTES - 1);
}

static void network_text(const struct in6_addr *address, int bits, char out[LOGIN_NETWORK_BYTES]) {
    struct in6_addr cut = *address;
    char text[INET6_ADDRSTRLEN];
    memset(cut.s6_addr + bits / 8, 0, sizeof cut.s6_addr - (size_t)bits / 8);
    inet_ntop(AF_INET6, &cut, text, sizeof text);
    snprintf(out, LOGIN_NETWORK_BYTES, "%s/%d", text, bits);
}

void login_network_of(const char *ip, struct login_network *out) {
    struct in6_addr v6;
    *out = (struct login_network){0};
    if (inet_pton(AF_INET6, ip, &v6) == 1 && !IN6_IS_ADDR_V4MAPPED(&v6)) {
        network_text(&v6, 64, out->narrow);
        network_text(&v6, 48, out->wide);
        out->has_wide = true;
        return;
    }
    if (strncasecmp(ip, "::ffff:", 7) == 0) ip += 7;
    snprintf(out->narrow, sizeof out->narrow, "%.45s", ip);
    memcpy(out->wide, out->narrow, sizeof out->wide);
}

static void on_look(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    if (!error && (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4)) error = STORE_UNAVAILABLE;
    if (error)
        ((login_look_fn *)p.done)(p.ctx, error, SLICE(""), SLICE(""), 0, 0);
    else
        ((login_look_fn *)p.done)(p.ctx, 0, redis_reply_slice(reply->element[0]), redis_reply_slice(reply->element[1]),
                                  redis_reply_integer(reply->element[2]), redis_reply_integer(reply->element[3]));
}

void login_look(struct redis *r, const char *domain, struct slice local, const struct login_network *n,
                login_look_fn *done, void *ctx) {
    char key[KEY_BYTES];
    struct slice args[] = {local, slice_of(n->narrow)};
    redis_fcall(r, on_look, PENDING(done, ctx), "account_login_look", key_of(key, "a:", domain), 2, args);
}

static void on_begin(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    ((login_begin_fn *)p.done)(p.ctx, redis_reply_error(reply), redis_reply_integer(reply));
}

void login_begin(struct redis *r, const char *domain, struct slice name, const struct login_network *n, const char *try,
                 const struct login_limits *l, login_begin_fn *done, void *ctx) {
    char key[KEY_BYTES], pair[DECIMAL_BYTES], account[DECIMAL_BYTES];
    struct slice args[] = {name, slice_of(n->narrow), slice_of(try), decimal(pair, l->pair),
                           decimal(account, l->account)};
    redis_fcall(r, on_begin, PENDING(done, ctx), "login_begin", key_of(key, "a:", domain), 5, args);
}

void login_network_begin(struct redis *r, const struct login_network *n, const char *try, const struct login_limits *l,
                         login_begin_fn *done, void *ctx) {
    char key[KEY_BYTES], narrow[DECIMAL_BYTES], wide[DECIMAL_BYTES];
    struct slice args[] = {slice_of(n->narrow), slice_of(try), decimal(narrow, l->network),
                           decimal(wide, n->has_wide ? l->wide : 0)};
    redis_fcall(r, on_begin, PENDING(done, ctx), "login_network_begin", key_of(key, "a:net:", n->wide), 4, args);
}

static void on_end(void *ctx, const redisReply *reply) {
    int error = redis_reply_error(reply);
    if (ctx) {
        struct pending p = pending_take(ctx);
        ((login_end_fn *)p.done)(p.ctx, error);
    } else if (error) {
        log_warn("the end of a login could not be recorded; its try counts for 30 seconds, a failure not at all",
                 "reason", store_error_text(error), NULL);
    }
}

static const char *const ends[] = {"right", "wrong", "none"};

void login_finish(struct redis *r, const char *domain, struct slice name, const struct login_network *n,
                  const char *try, enum login_end end, const struct login_limits *l, login_end_fn *done, void *ctx) {
    char key[KEY_BYTES], window[DECIMAL_BYTES], pair[DECIMAL_BYTES], account[DECIMAL_BYTES];
    struct slice args[] = {name,
                           slice_of(n->narrow),
                           slice_of(try),
                           slice_of(ends[end]),
                           decimal(window, (int64_t)l->window_seconds * 1000),
                           decimal(pair, l->pair),
                           decimal(account, l->account)};
    redis_fcall(r, on_end, PENDING(done, ctx), "login_finish", key_of(key, "a:", domain), 7, args);
}

void login_network_finish(struct redis *r, const struct login_network *n, const char *try, enum login_end end,
                          const struct login_limits *l, login_end_fn *done, void *ctx) {
    char key[KEY_BYTES], window[DECIMAL_BYTES], narrow[DECIMAL_BYTES], wide[DECIMAL_BYTES];
    struct slice args[] = {slice_of(n->narrow),         slice_of(try),
                           slice_of(ends[end]),         decimal(window, (int64_t)l->window_seconds * 1000),
                           decimal(narrow, l->network), decimal(wide, n->has_wide ? l->wide : 0)};
    redis_fcall(r, on_end, PENDING(done, ctx), "login_network_finish", key_of(key, "a:net:", n->wide), 6, args);
}
