#include "libcommon/store/redis.h"

#include <hiredis/async.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/cost.h"
#include "libcommon/base/log.h"
#include "libcommon/store/redis_loop.h"

/* Bounds: how long an answer may take before the connection is given up (fsync of a busy disk included), and the pauses
 * between attempts. */
enum { ANSWER_SECONDS = 10, CONNECT_SECONDS = 3, RETRY_FIRST_MS = 100, RETRY_LAST_MS = 2000, ARGUMENTS_MAX = 1024 };

/* A command that waits for its answer. hiredis calls back with NULL when the connection is lost. */
struct pending {
    redis_reply_fn *done;
    void *ctx;
    struct pending *next;
};

struct redis {
    struct event_base *base;
    redisAsyncContext *async;
    char *host, *user, *password;
    int port;
    bool ready, destroying;
    int retry_ms;
    struct event *retry;
    /* commands refused at once: their callbacks come from the loop, never from redis_command itself */
    struct pending *refused_first, *refused_last;
    struct event *refuse;
};

static void connect_now(struct redis *r);

static void schedule_retry(struct redis *r) {
    if (r->destroying) return;
    struct timeval wait = {r->retry_ms / 1000, (r->retry_ms % 1000) * 1000};
    r->retry_ms = r->retry_ms * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : r->retry_ms * 2;
    event_add(r->retry, &wait);
}

static void lost(struct redis *r, const char *why) {
    if (r->ready) log_warn("lost the connection to redis; trying again", "address", r->host, "reason", why, NULL);
    r->ready = false;
    r->async = NULL;
    schedule_retry(r);
}

static void on_connect(const redisAsyncContext *c, int status) {
    struct redis *r = c->data;
    if (status == REDIS_OK) return;
    log_warn("cannot reach redis; trying again", "address", r->host, "reason", c->errstr, NULL);
    lost(r, c->errstr); /* hiredis frees the context itself */
}

static void on_disconnect(const redisAsyncContext *c, int status) {
    struct redis *r = c->data;
    lost(r, status == REDIS_OK ? "closed" : c->errstr);
}

static void on_login(redisAsyncContext *c, void *answer, void *unused) {
    struct redis *r = c->data;
    const redisReply *reply = answer;
    (void)unused;
    if (!reply || r->destroying) return;
    if (reply->type == REDIS_REPLY_ERROR) {
        log_error("redis refuses our login: check the ACL user and the secret redis.password", "user", r->user,
                  "reason", reply->str, NULL);
        redisAsyncDisconnect(c);
        return;
    }
    if (!r->ready) log_info("connected to redis", "address", r->host, NULL);
    r->ready = true;
    r->retry_ms = RETRY_FIRST_MS;
}

static void connect_now(struct redis *r) {
    redisOptions options = {0};
    struct timeval connect_time = {CONNECT_SECONDS, 0}, answer_time = {ANSWER_SECONDS, 0};
    REDIS_OPTIONS_SET_TCP(&options, r->host, r->port);
    options.connect_timeout = &connect_time;
    options.command_timeout = &answer_time;
    redisAsyncContext *c = redisAsyncConnectWithOptions(&options);
    if (!c || c->err) {
        log_warn("cannot reach redis; trying again", "address", r->host, "reason", c ? c->errstr : "no memory", NULL);
        if (c) redisAsyncFree(c);
        schedule_retry(r);
        return;
    }
    c->data = r;
    r->async = c;
    redis_loop_attach(c, r->base);
    redisAsyncSetConnectCallback(c, on_connect);
    redisAsyncSetDisconnectCallback(c, on_disconnect);
    if (r->password && r->user)
        redisAsyncCommand(c, on_login, NULL, "AUTH %s %s", r->user, r->password);
    else
        redisAsyncCommand(c, on_login, NULL, "PING");
}

static void on_retry(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    connect_now(ctx);
}

static void on_refuse(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    struct redis *r = ctx;
    struct pending *p = r->refused_first;
    r->refused_first = r->refused_last = NULL;
    while (p) {
        struct pending *next = p->next;
        p->done(p->ctx, NULL);
        free(p);
        p = next;
    }
}

struct redis *redis_create(struct event_base *base, const char *address, const char *user, const char *password) {
    struct redis *r = memory_alloc(sizeof *r);
    const char *colon = strrchr(address, ':');
    r->base = base;
    r->host = memory_copy(colon ? slice_make(address, (size_t)(colon - address)) : slice_of(address));
    r->port = colon ? atoi(colon + 1) : 6379;
    r->user = user ? memory_copy(slice_of(user)) : NULL;
    r->password = password ? memory_copy(slice_of(password)) : NULL;
    r->retry_ms = RETRY_FIRST_MS;
    r->retry = event_new(base, -1, 0, on_retry, r);
    r->refuse = event_new(base, -1, 0, on_refuse, r);
    connect_now(r);
    return r;
}

void redis_destroy(struct redis *r) {
    if (!r) return;
    r->destroying = true;
    r->ready = false;
    if (r->async) redisAsyncFree(r->async); /* every waiting callback gets NULL */
    on_refuse(-1, 0, r);
    event_free(r->retry);
    event_free(r->refuse);
    free(r->host);
    free(r->user);
    free(r->password);
    free(r);
}

bool redis_is_ready(const struct redis *r) { return r->ready; }

static void refuse_soon(struct redis *r, redis_reply_fn *done, void *ctx) {
    if (!done) return;
    struct pending *p = memory_alloc(sizeof *p);
    p->done = done;
    p->ctx = ctx;
    if (r->refused_last)
        r->refused_last->next = p;
    else
        r->refused_first = p;
    r->refused_last = p;
    event_active(r->refuse, EV_TIMEOUT, 0);
}

static void on_reply(redisAsyncContext *c, void *answer, void *ctx) {
    struct pending *p = ctx;
    const redisReply *reply = answer;
    (void)c;
    if (p->done) p->done(p->ctx, reply);
    free(p);
}

void redis_command(struct redis *r, redis_reply_fn *done, void *ctx, size_t argc, const struct slice argv[]) {
    if (!r->ready || !r->async || argc > ARGUMENTS_MAX) {
        refuse_soon(r, done, ctx);
        return;
    }
    const char *parts[ARGUMENTS_MAX];
    size_t lengths[ARGUMENTS_MAX];
    for (size_t i = 0; i < argc; i++) {
        parts[i] = argv[i].p;
        lengths[i] = argv[i].n;
    }
    struct pending *p = memory_alloc(sizeof *p);
    p->done = done;
    p->ctx = ctx;
    if (redisAsyncCommandArgv(r->async, on_reply, p, (int)argc, parts, lengths) != REDIS_OK) {
        free(p);
        refuse_soon(r, done, ctx);
        return;
    }
    cost_add(COST_REDIS_COMMANDS, 1);
}

void redis_fcall(struct redis *r, redis_reply_fn *done, void *ctx, const char *function, struct slice key, size_t argc,
                 const struct slice argv[]) {
    struct slice all[ARGUMENTS_MAX];
    if (argc > ARGUMENTS_MAX - 4) {
        refuse_soon(r, done, ctx);
        return;
    }
    all[0] = SLICE("FCALL");
    all[1] = slice_of(function);
    all[2] = SLICE("1");
    all[3] = key;
    if (argc) memcpy(all + 4, argv, argc * sizeof *argv);
    if (r->ready) cost_add(COST_REDIS_FCALLS, 1);
    redis_command(r, done, ctx, argc + 4, all);
}

int redis_reply_error(const redisReply *reply) {
    static const struct {
        const char *word;
        int error;
    } words[] = {
        {"NOTFOUND", STORE_NOT_FOUND}, {"EXISTS", STORE_EXISTS},   {"OVERQUOTA", STORE_OVER_QUOTA},
        {"CONFLICT", STORE_CONFLICT},  {"INVALID", STORE_INVALID}, {"FULL", STORE_FULL},
        {"OOM", STORE_FULL},           {"MISCONF", STORE_FULL},
    };
    if (!reply) return STORE_UNAVAILABLE;
    if (reply->type != REDIS_REPLY_ERROR) return STORE_OK;
    struct slice text = slice_make(reply->str, reply->len);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (slice_starts(text, slice_of(words[i].word))) return words[i].error;
    log_error("redis answered an error", "reason", reply->str, NULL);
    return STORE_UNAVAILABLE;
}

const char *store_error_text(int error) {
    static const char *const texts[] = {"ok",     "unavailable", "full",     "not found",
                                        "exists", "over quota",  "conflict", "invalid"};
    return error <= 0 && error >= STORE_INVALID ? texts[-error] : "ok";
}

struct slice redis_reply_slice(const redisReply *reply) {
    if (reply &&
        (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS || reply->type == REDIS_REPLY_VERB))
        return slice_make(reply->str, reply->len);
    return SLICE("");
}

long long redis_reply_integer(const redisReply *reply) {
    if (reply && reply->type == REDIS_REPLY_INTEGER) return reply->integer;
    if (reply && reply->type == REDIS_REPLY_STRING) return strtoll(reply->str, NULL, 10);
    return 0;
}
