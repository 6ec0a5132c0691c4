#include "libcommon/store/account.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/store/account/account_private.h"

static const char domains_key[] = "a:domains";

struct slice account_key(char out[ACCOUNT_KEY_BYTES], const char *domain, const char *kind) {
    int n = snprintf(out, ACCOUNT_KEY_BYTES, "a:{%s}%s%s", domain, *kind ? ":" : "", kind);
    return slice_make(out, (size_t)n < ACCOUNT_KEY_BYTES ? (size_t)n : ACCOUNT_KEY_BYTES - 1);
}

void account_call(struct redis *r, redis_reply_fn *fn, struct pending *p, const char *function, const char *domain,
                  size_t argc, const struct slice argv[]) {
    char key[ACCOUNT_KEY_BYTES];
    redis_fcall(r, fn, p, function, account_key(key, domain, ""), argc, argv);
}

void account_on_names(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    json_t *names = json_array();
    if (!error && reply->type == REDIS_REPLY_ARRAY)
        for (size_t i = 0; i < reply->elements; i++)
            json_array_append_new(names, json_stringn(reply->element[i]->str, reply->element[i]->len));
    ((account_json_fn *)p.done)(p.ctx, error, error ? NULL : names);
    json_decref(names);
}

void account_domains(struct redis *r, account_json_fn *done, void *ctx) {
    struct slice command[] = {SLICE("ZRANGE"), slice_of(domains_key), SLICE("-"), SLICE("+"), SLICE("BYLEX")};
    redis_command(r, account_on_names, PENDING(done, ctx), 5, command);
}

void account_domain_listed(struct redis *r, const char *domain, bool listed, account_done_fn *done, void *ctx) {
    struct slice add[] = {SLICE("ZADD"), slice_of(domains_key), SLICE("0"), slice_of(domain)},
                 drop[] = {SLICE("ZREM"), slice_of(domains_key), slice_of(domain)};
    redis_command(r, pending_on_done, PENDING(done, ctx), listed ? 4 : 3, listed ? add : drop);
}

/* The preceding arguments, then name and value of each field. */
static void set_fields(struct redis *r, const char *function, const char *domain, const char *before, size_t count,
                       const struct account_field fields[], account_done_fn *done, void *ctx) {
    struct slice *args = memory_alloc((1 + 2 * count) * sizeof *args);
    size_t n = 0;
    if (before) args[n++] = slice_of(before);
    for (size_t i = 0; i < count; i++) {
        args[n++] = slice_of(fields[i].name);
        args[n++] = slice_of(fields[i].value);
    }
    account_call(r, pending_on_done, PENDING(done, ctx), function, domain, n, args);
    free(args);
}

void account_domain_add(struct redis *r, const char *domain, const char *created, size_t key_count,
                        const struct account_field keys[], account_done_fn *done, void *ctx) {
    set_fields(r, "account_domain_add", domain, created, key_count, keys, done, ctx);
}

void account_domain_set(struct redis *r, const char *domain, size_t count, const struct account_field fields[],
                        account_done_fn *done, void *ctx) {
    set_fields(r, "account_domain_set", domain, NULL, count, fields, done, ctx);
}

void account_domain_delete(struct redis *r, const char *domain, bool force, account_json_fn *done, void *ctx) {
    struct slice arg = force ? SLICE("1") : SLICE("0");
    account_call(r, account_on_names, PENDING(done, ctx), "account_domain_delete", domain, 1, &arg);
}

void account_alias_set(struct redis *r, const char *domain, const char *local, const char *targets,
                       account_done_fn *done, void *ctx) {
    struct slice args[] = {slice_of(local), slice_of(targets)};
    account_call(r, pending_on_done, PENDING(done, ctx), "account_alias_set", domain, 2, args);
}

void account_alias_delete(struct redis *r, const char *domain, const char *local, account_done_fn *done, void *ctx) {
    struct slice arg = slice_of(local);
    account_call(r, pending_on_done, PENDING(done, ctx), "account_alias_delete", domain, 1, &arg);
}

/* A stored value: JSON, or (for the domain's own fields) plain text. */
static json_t *value_of(const redisReply *reply, bool raw) {
    struct slice text = redis_reply_slice(reply);
    return raw ? json_stringn(text.p, text.n) : json_loadb(text.p, text.n, JSON_DECODE_ANY, NULL);
}

void account_on_all(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    json_t *all = json_object();
    if (!error && reply->type == REDIS_REPLY_ARRAY)
        for (size_t i = 0; i + 1 < reply->elements; i += 2) {
            struct slice name = redis_reply_slice(reply->element[i]);
            json_object_setn_new(all, name.p, name.n, value_of(reply->element[i + 1], p.note & ACCOUNT_RAW));
        }
    if (!error && p.note & ACCOUNT_MUST_EXIST && json_object_size(all) == 0) error = STORE_NOT_FOUND;
    ((account_json_fn *)p.done)(p.ctx, error, error ? NULL : all);
    json_decref(all);
}

void account_read_all(struct redis *r, const char *domain, const char *kind, account_json_fn *done, void *ctx) {
    char key[ACCOUNT_KEY_BYTES];
    bool own = strcmp(kind, "d") == 0;
    struct slice command[] = {SLICE("HGETALL"), account_key(key, domain, kind)};
    struct pending *p = PENDING(done, ctx);
    p->note = own ? ACCOUNT_RAW | ACCOUNT_MUST_EXIST : 0;
    redis_command(r, account_on_all, p, 2, command);
}

static void on_one(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    json_t *value = error ? NULL : value_of(reply, false);
    if (!error && !value) error = STORE_NOT_FOUND;
    ((account_json_fn *)p.done)(p.ctx, error, value);
    json_decref(value);
}

void account_read(struct redis *r, const char *domain, const char *kind, struct slice name, account_json_fn *done,
                  void *ctx) {
    char key[ACCOUNT_KEY_BYTES];
    struct slice command[] = {SLICE("HGET"), account_key(key, domain, kind), name};
    redis_command(r, on_one, PENDING(done, ctx), 3, command);
}

static void on_text(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    if (!error && reply->type != REDIS_REPLY_STRING) error = STORE_NOT_FOUND;
    ((account_text_fn *)p.done)(p.ctx, error, error ? SLICE("") : redis_reply_slice(reply));
}

void account_read_text(struct redis *r, const char *domain, struct slice local, account_text_fn *done, void *ctx) {
    char key[ACCOUNT_KEY_BYTES];
    struct slice command[] = {SLICE("HGET"), account_key(key, domain, "u"), local};
    redis_command(r, on_text, PENDING(done, ctx), 3, command);
}

void account_add(struct redis *r, const char *domain, struct slice local, struct slice account, const char *user,
                 const char *owed, account_done_fn *done, void *ctx) {
    struct slice args[] = {local, account, slice_of(user), slice_of(owed)};
    account_call(r, pending_on_done, PENDING(done, ctx), "account_add", domain, owed ? 4 : 2, args);
}

void account_set(struct redis *r, const char *domain, struct slice local, struct slice was, struct slice account,
                 const char *user, const char *owed, account_done_fn *done, void *ctx) {
    struct slice args[] = {local, was, account, slice_of(user), slice_of(owed)};
    account_call(r, pending_on_done, PENDING(done, ctx), "account_set", domain, owed ? 5 : 3, args);
}

void account_delete(struct redis *r, const char *domain, struct slice local, account_json_fn *done, void *ctx) {
    account_call(r, on_one, PENDING(done, ctx), "account_delete", domain, 1, &local);
}

/* Resolving */

static void on_resolve(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    size_t wanted = (size_t)p.note;
    if (!error && (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 * wanted)) error = STORE_UNAVAILABLE;
    for (size_t i = 0; !error && i < wanted; i++) {
        json_t *value = value_of(reply->element[3 * i + 1], false);
        ((account_resolve_fn *)p.done)(p.ctx, 0, i, redis_reply_slice(reply->element[3 * i]),
                                       redis_reply_slice(reply->element[3 * i + 2]), value);
        json_decref(value);
    }
    ((account_resolve_fn *)p.done)(p.ctx, error, wanted, SLICE(""), SLICE(""), NULL);
}

void account_resolve(struct redis *r, const char *domain, size_t count, const struct slice locals[],
                     account_resolve_fn *done, void *ctx) {
    struct pending *p = PENDING(done, ctx);
    p->note = (long long)count;
    account_call(r, on_resolve, p, "account_resolve", domain, count, locals);
}
