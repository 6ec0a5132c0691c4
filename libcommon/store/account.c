#include "libcommon/store/account.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"

enum { KEY_BYTES = 300 };
static const char domains_key[] = "a:domains", owing_key[] = "a:owing", lease_key[] = "a:owing:lease";

struct waiting {
    account_done_fn *done;
    account_json_fn *json;
    account_resolve_fn *resolve;
    account_text_fn *text;
    void *ctx;
    size_t wanted;
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

void account_change_named(struct redis *r, const char *function, const char *domain, size_t argc,
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

static void on_text(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    int error = redis_reply_error(reply);
    if (!error && reply->type != REDIS_REPLY_STRING) error = STORE_NOT_FOUND;
    w->text(w->ctx, error, error ? SLICE("") : redis_reply_slice(reply));
    free(w);
}

void account_read_text(struct redis *r, const char *domain, struct slice local, account_text_fn *done, void *ctx) {
    char key[KEY_BYTES];
    struct slice command[] = {SLICE("HGET"), domain_key(key, domain, "u"), local};
    redis_command(r, on_text, waiting_create((struct waiting){.text = done, .ctx = ctx}), 3, command);
}

void account_add(struct redis *r, const char *domain, struct slice local, struct slice account, const char *user,
                 const char *owed, account_done_fn *done, void *ctx) {
    struct slice args[] = {local, account, slice_of(user), slice_of(owed)};
    account_change(r, "account_add", domain, owed ? 4 : 2, args, done, ctx);
}

void account_set(struct redis *r, const char *domain, struct slice local, struct slice was, struct slice account,
                 const char *user, const char *owed, account_done_fn *done, void *ctx) {
    struct slice args[] = {local, was, account, slice_of(user), slice_of(owed)};
    account_change(r, "account_set", domain, owed ? 5 : 3, args, done, ctx);
}

void account_delete(struct redis *r, const char *domain, struct slice local, account_json_fn *done, void *ctx) {
    char key[KEY_BYTES];
    redis_fcall(r, on_one, waiting_create((struct waiting){.json = done, .ctx = ctx}), "account_delete",
                domain_key(key, domain, ""), 1, &local);
}

/* What is owed
 * -----------------------------------------------------------------------------------------------------------------------------
 */

void account_owing_mark(struct redis *r, const char *domain, account_done_fn *done, void *ctx) {
    char now[24];
    snprintf(now, sizeof now, "%lld", (long long)clock_wall_ms());
    struct slice command[] = {SLICE("ZADD"), slice_of(owing_key), slice_of(now), slice_of(domain)};
    redis_command(r, on_done, waiting_create((struct waiting){.done = done, .ctx = ctx}), 4, command);
}

void account_owing(struct redis *r, account_json_fn *done, void *ctx) {
    struct slice command[] = {SLICE("ZRANGE"), slice_of(owing_key), SLICE("0"), SLICE("-1")};
    redis_command(r, on_names, waiting_create((struct waiting){.json = done, .ctx = ctx}), 4, command);
}

void account_owing_clear(struct redis *r, const char *domain, int64_t since) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)since);
    struct slice args[] = {slice_of(text), slice_of(domain)};
    redis_fcall(r, on_done, waiting_create((struct waiting){0}), "account_owing_clear", slice_of(owing_key), 2, args);
}

void account_owed(struct redis *r, const char *domain, account_json_fn *done, void *ctx) {
    char key[KEY_BYTES];
    struct slice command[] = {SLICE("HGETALL"), domain_key(key, domain, "owed")};
    redis_command(r, on_all, waiting_create((struct waiting){.json = done, .ctx = ctx, .raw_values = true}), 2,
                  command);
}

void account_owed_done(struct redis *r, const char *domain, const char *user, const char *owed, account_done_fn *done,
                       void *ctx) {
    struct slice args[] = {slice_of(user), slice_of(owed)};
    account_change(r, "account_owed_done", domain, 2, args, done, ctx);
}

static void on_lease(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    int error = redis_reply_error(reply);
    w->done(w->ctx, error || reply->type == REDIS_REPLY_NIL ? STORE_CONFLICT : STORE_OK);
    free(w);
}

void account_owing_lease(struct redis *r, int seconds, account_done_fn *done, void *ctx) {
    char text[16];
    snprintf(text, sizeof text, "%d", seconds);
    struct slice command[] = {SLICE("SET"), slice_of(lease_key), SLICE("1"), SLICE("NX"), SLICE("EX"), slice_of(text)};
    redis_command(r, on_lease, waiting_create((struct waiting){.done = done, .ctx = ctx}), 6, command);
}

/* Resolving
 * --------------------------------------------------------------------------------------------------------------------------------
 */

static void on_resolve(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    int error = redis_reply_error(reply);
    if (!error && (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 * w->wanted)) error = STORE_UNAVAILABLE;
    for (size_t i = 0; !error && i < w->wanted; i++) {
        json_t *value = value_of(reply->element[3 * i + 1], false);
        w->resolve(w->ctx, 0, i, redis_reply_slice(reply->element[3 * i]), redis_reply_slice(reply->element[3 * i + 2]),
                   value);
        json_decref(value);
    }
    w->resolve(w->ctx, error, w->wanted, SLICE(""), SLICE(""), NULL);
    free(w);
}

void account_resolve(struct redis *r, const char *domain, size_t count, const struct slice locals[],
                     account_resolve_fn *done, void *ctx) {
    char key[KEY_BYTES];
    redis_fcall(r, on_resolve, waiting_create((struct waiting){.resolve = done, .ctx = ctx, .wanted = count}),
                "account_resolve", domain_key(key, domain, ""), count, locals);
}
