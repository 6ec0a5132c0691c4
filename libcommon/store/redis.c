#include "libcommon/store/redis.h"

#include <hiredis/async.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/cost.h"
#include "libcommon/base/log.h"
#include "libcommon/net/host_lookup.h"
#include "libcommon/store/redis/redis_attach.h"
#include "libcommon/store/redis/redis_loop.h"

/* Bounds. ANSWER: time limit of a caller's answer, and of the TCP acknowledgement of sent data.
 * SILENCE: time after which a connection without any answer is closed. Pauses between attempts to
 * connect. */
enum {
    ANSWER_MS = 10000,
    SILENCE_MS = 30000,
    LOOK_MS = 500,
    CONNECT_SECONDS = 3,
    KEEPALIVE_SECONDS = 15,
    RETRY_FIRST_MS = 100,
    RETRY_LAST_MS = 2000,
    ARGUMENTS_ON_STACK = 64
};

/* A command without its answer. hiredis calls back in the order in which they were sent, with NULL
 * when the connection is lost. */
struct outstanding {
    struct redis *redis;
    redis_reply_fn *done; /* NULL: no callback, or it was called already */
    void *ctx;
    int64_t sent_us;
    struct outstanding *next;
};

struct redis {
    struct event_base *base;
    redisAsyncContext *async;
    char *host, *user, *password;
    int port;
    bool ready, late, destroying; /* late: the oldest command has waited longer than ANSWER_MS */
    int retry_ms;
    struct event *retry;
    struct host_lookup *lookup;
    size_t address_count, next_address; /* of the last resolution; addresses from next_address on
                                           are still to be tried */
    char *addresses[HOST_LOOKUP_MAX];
    /* commands without an answer; `waiting` is the oldest whose callback has not been called */
    struct outstanding *first, *last, *waiting;
    int64_t began_us, answered_us; /* the connection; its last answer */
    struct event *watch;
    /* commands refused at once: their callbacks come from the loop, never from redis_command
     * itself */
    struct outstanding *refused_first, *refused_last;
    struct event *refuse;
    void *attached;
    void (*attached_destroy)(void *);
};

static void connect_now(struct redis *r);

static void wait_ms(struct event *timer, int ms) {
    struct timeval wait = {ms / 1000, (ms % 1000) * 1000};
    event_add(timer, &wait);
}

static void schedule_retry(struct redis *r) {
    if (r->destroying) return;
    wait_ms(r->retry, r->next_address < r->address_count ? 0 : r->retry_ms);
    if (r->next_address < r->address_count) return; /* the name's next address, at once */
    r->retry_ms = r->retry_ms * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : r->retry_ms * 2;
}

static void lost(struct redis *r, const char *why) {
    if (r->ready) log_warn("lost the connection to redis; trying again", "address", r->host, "reason", why, NULL);
    r->ready = false;
    r->async = NULL;
    schedule_retry(r);
}

/* Closes the connection: every waiting callback gets NULL. */
static void drop(struct redis *r, const char *why) {
    redisAsyncContext *c = r->async;
    lost(r, why);
    redisAsyncFree(c);
}

static void on_connect(const redisAsyncContext *c, int status) {
    struct redis *r = c->data;
    if (c != r->async) return;
    if (status == REDIS_OK) {
        /* TCP detects a machine that does not respond; on_watch handles a slow Redis. */
        unsigned unacknowledged_ms = ANSWER_MS;
        setsockopt(c->c.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms);
        redisEnableKeepAliveWithInterval(&r->async->c, KEEPALIVE_SECONDS);
        return;
    }
    log_warn("cannot reach redis; trying again", "address", r->host, "reason", c->errstr, NULL);
    lost(r, c->errstr); /* hiredis frees the context itself */
}

static void on_disconnect(const redisAsyncContext *c, int status) {
    struct redis *r = c->data;
    if (c == r->async) lost(r, status == REDIS_OK ? "closed" : c->errstr);
}

static void on_login(redisAsyncContext *c, void *answer, void *unused) {
    struct redis *r = c->data;
    const redisReply *reply = answer;
    (void)unused;
    if (!reply || r->destroying || c != r->async) return;
    if (reply->type == REDIS_REPLY_ERROR) {
        log_error("redis refuses our login: check the ACL user and the secret redis.password", "user", r->user,
                  "reason", reply->str, NULL);
        redisAsyncDisconnect(c);
        return;
    }
    if (!r->ready) log_info("connected to redis", "address", r->host, NULL);
    r->ready = true;
    r->retry_ms = RETRY_FIRST_MS;
    r->address_count = r->next_address = 0; /* after a loss the name is resolved again */
}

/* Handles slow answers and lost connections. A caller never waits longer than ANSWER_MS, but the
 * connection, with all other commands, is kept as long as Redis sends any answer within SILENCE_MS.
 * Until the oldest command is answered, further commands are refused, because they would only wait
 * behind it. */
static void on_watch(evutil_socket_t fd, short what, void *ctx) {
    struct redis *r = ctx;
    int64_t now = clock_monotonic_us();
    (void)fd, (void)what;
    if (!r->async) return;
    if (!r->ready && now - r->began_us > ANSWER_MS * 1000LL) {
        drop(r, "no answer to the login");
        return;
    }
    if (r->first) {
        int64_t silent_since = r->first->sent_us > r->answered_us ? r->first->sent_us : r->answered_us;
        if (now - silent_since > SILENCE_MS * 1000LL) {
            drop(r, "nothing was answered for 30 s");
            return;
        }
    }
    while (r->waiting && now - r->waiting->sent_us > ANSWER_MS * 1000LL) {
        struct outstanding *p = r->waiting;
        redis_reply_fn *done = p->done;
        r->waiting = p->next;
        p->done = NULL;
        if (!r->late)
            log_warn("redis is slow: it has not answered for 10 s; no more commands until it does", "address", r->host,
                     NULL);
        r->late = true;
        if (done) done(p->ctx, NULL);
    }
    if (r->first || !r->ready) wait_ms(r->watch, LOOK_MS);
}

static void connect_to(struct redis *r, const char *address) {
    redisOptions options = {0};
    struct timeval connect_time = {CONNECT_SECONDS, 0};
    REDIS_OPTIONS_SET_TCP(&options, address, r->port);
    options.connect_timeout = &connect_time;
    redisAsyncContext *c = redisAsyncConnectWithOptions(&options);
    if (!c || c->err) {
        log_warn("cannot reach redis; trying again", "address", r->host, "reason", c ? c->errstr : "no memory", NULL);
        if (c) redisAsyncFree(c);
        schedule_retry(r);
        return;
    }
    c->data = r;
    r->async = c;
    r->began_us = r->answered_us = clock_monotonic_us();
    redis_loop_attach(c, r->base);
    redisAsyncSetConnectCallback(c, on_connect);
    redisAsyncSetDisconnectCallback(c, on_disconnect);
    if (r->password && r->user)
        redisAsyncCommand(c, on_login, NULL, "AUTH %s %s", r->user, r->password);
    else
        redisAsyncCommand(c, on_login, NULL, "PING");
    wait_ms(r->watch, LOOK_MS);
}

static void forget_addresses(struct redis *r) {
    for (size_t i = 0; i < HOST_LOOKUP_MAX; i++) {
        free(r->addresses[i]);
        r->addresses[i] = NULL;
    }
    r->address_count = r->next_address = 0;
}

static void on_resolved(void *ctx, size_t count, const char *const addresses[], const char *reason) {
    struct redis *r = ctx;
    r->lookup = NULL;
    forget_addresses(r);
    for (size_t i = 0; i < count; i++) r->addresses[i] = memory_copy(slice_of(addresses[i]));
    r->address_count = count;
    if (count) {
        connect_now(r);
    } else {
        log_warn("cannot reach redis; trying again", "address", r->host, "reason", reason, NULL);
        schedule_retry(r);
    }
}

static void connect_now(struct redis *r) {
    if (r->next_address < r->address_count)
        connect_to(r, r->addresses[r->next_address++]);
    else
        r->lookup = host_lookup_start(r->base, r->host, on_resolved, r);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    connect_now(ctx);
}

static void on_refuse(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    struct redis *r = ctx;
    struct outstanding *p = r->refused_first;
    r->refused_first = r->refused_last = NULL;
    while (p) {
        struct outstanding *next = p->next;
        p->done(p->ctx, NULL);
        free(p);
        p = next;
    }
}

struct redis *redis_create(struct event_base *base, const char *address, const char *user, const char *password) {
    struct redis *r = memory_alloc(sizeof *r);
    const char *colon = strrchr(address, ':');
    r->base = base;
    struct slice host = colon ? slice_make(address, (size_t)(colon - address)) : slice_of(address);
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') host = slice_make(host.p + 1, host.n - 2);
    r->host = memory_copy(host);
    r->port = colon ? atoi(colon + 1) : 6379;
    r->user = user ? memory_copy(slice_of(user)) : NULL;
    r->password = password ? memory_copy(slice_of(password)) : NULL;
    r->retry_ms = RETRY_FIRST_MS;
    r->retry = event_new(base, -1, 0, on_retry, r);
    r->refuse = event_new(base, -1, 0, on_refuse, r);
    r->watch = event_new(base, -1, 0, on_watch, r);
    if (!r->retry || !r->refuse || !r->watch) memory_exhausted();
    connect_now(r);
    return r;
}

struct event_base *redis_base(const struct redis *r) { return r->base; }

void *redis_attached(const struct redis *r) { return r->attached; }

void redis_attach(struct redis *r, void *object, void (*destroy)(void *object)) {
    r->attached = object;
    r->attached_destroy = destroy;
}

void redis_destroy(struct redis *r) {
    if (!r) return;
    r->destroying = true;
    r->ready = false;
    host_lookup_cancel(r->lookup);
    if (r->async) redisAsyncFree(r->async); /* every waiting callback gets NULL */
    if (r->attached) r->attached_destroy(r->attached);
    on_refuse(-1, 0, r);
    event_free(r->retry);
    event_free(r->refuse);
    event_free(r->watch);
    forget_addresses(r);
    free(r->host);
    free(r->user);
    free(r->password);
    free(r);
}

bool redis_is_ready(const struct redis *r) { return r->ready && !r->late; }

static void refuse_soon(struct redis *r, redis_reply_fn *done, void *ctx) {
    if (!done) return;
    struct outstanding *p = memory_alloc(sizeof *p);
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
    struct outstanding *p = ctx;
    struct redis *r = p->redis;
    const redisReply *reply = answer;
    (void)c;
    r->first = p->next;
    if (!r->first) r->last = NULL;
    if (r->waiting == p) r->waiting = p->next;
    if (r->first == r->waiting) r->late = false;
    if (reply) r->answered_us = clock_monotonic_us();
    if (p->done) p->done(p->ctx, reply);
    free(p);
}

static void now_outstanding(struct redis *r, redis_reply_fn *done, void *ctx, struct outstanding *p) {
    *p = (struct outstanding){r, done, ctx, clock_monotonic_us(), NULL};
    if (r->last)
        r->last->next = p;
    else
        r->first = p;
    r->last = p;
    if (!r->waiting) r->waiting = p;
    if (!event_pending(r->watch, EV_TIMEOUT, NULL)) wait_ms(r->watch, LOOK_MS);
}

/* The arguments `first` and then `rest` as one command. */
static void send_command(struct redis *r, redis_reply_fn *done, void *ctx, size_t first_count,
                         const struct slice first[], size_t rest_count, const struct slice rest[]) {
    const char *few_parts[ARGUMENTS_ON_STACK], **parts = few_parts;
    size_t few_lengths[ARGUMENTS_ON_STACK], *lengths = few_lengths, argc = first_count + rest_count;
    if (!r->ready || r->late || !r->async) {
        refuse_soon(r, done, ctx);
        return;
    }
    if (argc > ARGUMENTS_ON_STACK) {
        parts = memory_alloc(argc * sizeof *parts);
        lengths = memory_alloc(argc * sizeof *lengths);
    }
    for (size_t i = 0; i < argc; i++) {
        struct slice s = i < first_count ? first[i] : rest[i - first_count];
        parts[i] = s.p;
        lengths[i] = s.n;
    }
    struct outstanding *p = memory_alloc(sizeof *p);
    if (redisAsyncCommandArgv(r->async, on_reply, p, (int)argc, parts, lengths) != REDIS_OK) {
        free(p);
        refuse_soon(r, done, ctx);
    } else {
        now_outstanding(r, done, ctx, p);
        cost_add(COST_REDIS_COMMANDS, 1);
    }
    if (parts != few_parts) {
        free(parts);
        free(lengths);
    }
}

void redis_command(struct redis *r, redis_reply_fn *done, void *ctx, size_t argc, const struct slice argv[]) {
    send_command(r, done, ctx, argc, argv, 0, NULL);
}

void redis_fcall(struct redis *r, redis_reply_fn *done, void *ctx, const char *function, struct slice key, size_t argc,
                 const struct slice argv[]) {
    if (r->ready) cost_add(COST_REDIS_FCALLS, 1);
    struct slice head[] = {SLICE("FCALL"), slice_of(function), SLICE("1"), key};
    send_command(r, done, ctx, 4, head, argc, argv);
}

void redis_fcall_ro(struct redis *r, redis_reply_fn *done, void *ctx, const char *function, struct slice key,
                    size_t argc, const struct slice argv[]) {
    if (r->ready) cost_add(COST_REDIS_FCALLS, 1);
    struct slice head[] = {SLICE("FCALL_RO"), slice_of(function), SLICE("1"), key};
    send_command(r, done, ctx, 4, head, argc, argv);
}
