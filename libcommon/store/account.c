#include "libcommon/store/account.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"

enum { KEY_BYTES = 300 };
static const char domains_key[] = "a:domains";

struct waiting {
    account_done_fn *done;
    account_json_fn *json;
    account_resolve_fn *resolve;
    account_count_fn *count;
    void *ctx;
    bool must_exist, raw_values;
};

static struct slice domain_key(char out[KEY_BYTES], const char *domain, const char *kind) {
    int n = snprintf(out, KEY_BYTES, "a:{%s}%s%s", domain, *kind ? ":" : "", kind);
    return slice_make(out, (size_t)n < KEY_BYTES ? (size_t)n : KEY_BYTES - 1);
}

static struct waiting *waiting_create(struct waiting w) {
    struct waiting *p = memory_alloc(sizeof *p);
    *p = w;
    return p;
}

static void on_done(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    if (!w) return;
    if (w->done) w->done(w->ctx, redis_reply_error(reply));
    free(w);
}

void account_change(struct redis *r, const char *function, const char *domain, size_t argc, const struct slice argv[],
                    account_done_fn *done, void *ctx) {
    char key[KEY_BYTES];
    redis_fcall(r, on_done, waiting_create((struct waiting){.done = done, .ctx = ctx}), function,
                domain_key(key, domain, ""), argc, argv);
}

static void on_names(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    int error = redis_reply_error(reply);
    json_t *names = json_array();
    if (!error && reply->type == REDIS_REPLY_ARRAY)
        for (size_t i = 0; i < reply->elements; i++)
            json_array_append_new(names, json_stringn(reply->element[i]->str, reply->element[i]->len));
    w->json(w->ctx, error, error ? NULL : names);
    json_decref(names);
    free(w);
}

void account_domains(struct redis *r, account_json_fn *done, void *ctx) {
    struct slice command[] = {SLICE("ZRANGE"), slice_of(domains_key), SLICE("-"), SLICE("+"), SLICE("BYLEX")};
    redis_command(r, on_names, waiting_create((struct waiting){.json = done, .ctx = ctx}), 5, command);
}

void account_keys_change(struct redis *r, const char *function, const char *domain, size_t argc,
                         const struct slice argv[], account_json_fn *done, void *ctx) {
    char key[KEY_BYTES];
    redis_fcall(r, on_names, waiting_create((struct waiting){.json = done, .ctx = ctx}), function,
                domain_key(key, domain, ""), argc, argv);
}

void account_domain_listed(struct redis *r, const char *domain, bool listed, account_done_fn *done, void *ctx) {
    struct slice add[] = {SLICE("ZADD"), slice_of(domains_key), SLICE("0"), slice_of(domain)},
                 drop[] = {SLICE("ZREM"), slice_of(domains_key), slice_of(domain)};
    redis_command(r, on_done, waiting_create((struct waiting){.done = done, .ctx = ctx}), listed ? 4 : 3,
                  listed ? add : drop);
}

/* A stored value: JSON, or (for the domain's own fields) plain text. */
static json_t *value_of(const redisReply *reply, bool raw) {
    struct slice text = redis_reply_slice(reply);
    return raw ? json_stringn(text.p, text.n) : json_loadb(text.p, text.n, JSON_DECODE_ANY, NULL);
}

static void on_all(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    int error = redis_reply_error(reply);
    json_t *all = json_object();
    if (!error && reply->type == REDIS_REPLY_ARRAY)
        for (size_t i = 0; i + 1 < reply->elements; i += 2) {
            struct slice name = redis_reply_slice(reply->element[i]);
            json_object_setn_new(all, name.p, name.n, value_of(reply->element[i + 1], w->raw_values));
        }
    if (!error && w->must_exist && json_object_size(all) == 0) error = STORE_NOT_FOUND;
    w->json(w->ctx, error, error ? NULL : all);
    json_decref(all);
    free(w);
}

void account_read_all(struct redis *r, const char *domain, const char *kind, account_json_fn *done, void *ctx) {
    char key[KEY_BYTES];
    bool own = strcmp(kind, "d") == 0;
    struct slice command[] = {SLICE("HGETALL"), domain_key(key, domain, kind)};
    redis_command(r, on_all,
                  waiting_create((struct waiting){.json = done, .ctx = ctx, .must_exist = own, .raw_values = own}), 2,
                  command);
}

static void on_one(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    int error = redis_reply_error(reply);
    json_t *value = error ? NULL : value_of(reply, false);
    if (!error && !value) error = STORE_NOT_FOUND;
    w->json(w->ctx, error, value);
    json_decref(value);
    free(w);
}

void account_read(struct redis *r, const char *domain, const char *kind, struct slice name, account_json_fn *done,
                  void *ctx) {
    char key[KEY_BYTES];
    struct slice command[] = {SLICE("HGET"), domain_key(key, domain, kind), name};
    redis_command(r, on_one, waiting_create((struct waiting){.json = done, .ctx = ctx}), 3, command);
}

void account_delete(struct redis *r, const char *domain, struct slice local, account_json_fn *done, void *ctx) {
    char key[KEY_BYTES];
    redis_fcall(r, on_one, waiting_create((struct waiting){.json = done, .ctx = ctx}), "account_delete",
                domain_key(key, domain, ""), 1, &local);
}

static void on_resolve(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    int error = redis_reply_error(reply);
    bool whole = !error && reply->type == REDIS_REPLY_ARRAY && reply->elements >= 2;
    json_t *value = whole ? value_of(reply->element[1], false) : NULL;
    w->resolve(w->ctx, error, whole ? redis_reply_slice(reply->element[0]) : SLICE("unknown"),
               whole && reply->elements > 2 ? redis_reply_slice(reply->element[2]) : SLICE(""), value);
    json_decref(value);
    free(w);
}

void account_resolve(struct redis *r, const char *domain, struct slice local, account_resolve_fn *done, void *ctx) {
    char key[KEY_BYTES];
    redis_fcall(r, on_resolve, waiting_create((struct waiting){.resolve = done, .ctx = ctx}), "account_resolve",
                domain_key(key, domain, ""), 1, &local);
}

static void on_count(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    w->count(w->ctx, redis_reply_error(reply), redis_reply_integer(reply));
    free(w);
}

void account_login_wait(struct redis *r, const char *domain, struct slice who, account_count_fn *done, void *ctx) {
    char key[KEY_BYTES];
    redis_fcall(r, on_count, waiting_create((struct waiting){.count = done, .ctx = ctx}), "account_login_wait",
                domain_key(key, domain, ""), 1, &who);
}

void account_failed(struct redis *r, const char *domain, struct slice who, int window_seconds, int free_failures) {
    char key[KEY_BYTES], seconds[16], allowed[16];
    snprintf(seconds, sizeof seconds, "%d", window_seconds);
    snprintf(allowed, sizeof allowed, "%d", free_failures);
    struct slice args[] = {who, slice_of(seconds), slice_of(allowed)};
    redis_fcall(r, on_done, NULL, "account_failed", domain_key(key, domain, ""), 3, args);
}

void account_cleared(struct redis *r, const char *domain, struct slice who) {
    char key[KEY_BYTES];
    redis_fcall(r, on_done, NULL, "account_cleared", domain_key(key, domain, ""), 1, &who);
}
