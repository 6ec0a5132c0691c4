#include "libcommon/store/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"
#include "libcommon/base/log.h"
#include "libcommon/store/pending.h"

enum { ZSTD_LEVEL = 3 };
static const struct slice key = {"{rep}", 5};

static char *dump(const json_t *value) {
    char *text = json_dumps(value, JSON_COMPACT);
    if (!text) memory_exhausted();
    return text;
}

static void on_number(void *ctx, const redisReply *reply) {
    int error = redis_reply_error(reply);
    if (!ctx) return;
    struct pending p = pending_take(ctx);
    ((report_number_fn *)p.done)(p.ctx, error, error ? 0 : redis_reply_integer(reply));
}

static void ask_number(struct redis *r, const char *function, size_t argc, const struct slice argv[],
                       report_number_fn *done, void *ctx) {
    redis_fcall(r, on_number, PENDING(done, ctx), function, key, argc, argv);
}

/* Out: what was counted */

void report_count(struct redis *r, const struct report_fact *fact, size_t count, const struct slice rows[],
                  report_number_fn *done, void *ctx) {
    char time[DECIMAL_BYTES], start[DECIMAL_BYTES], end[DECIMAL_BYTES], due[DECIMAL_BYTES];
    struct slice args[8 + REPORT_ROWS_ONCE_MAX] = {
        slice_of(fact->kind),    decimal(time, fact->time), decimal(start, fact->start), decimal(end, fact->end),
        decimal(due, fact->due), slice_of(fact->domain),    slice_of(fact->id),          slice_of(fact->policy)};
    if (count > REPORT_ROWS_ONCE_MAX) count = REPORT_ROWS_ONCE_MAX;
    for (size_t i = 0; i < count; i++) args[8 + i] = rows[i];
    ask_number(r, "report_count", 8 + count, args, done, ctx);
}

void report_close(struct redis *r, int64_t time, report_number_fn *done, void *ctx) {
    char text[DECIMAL_BYTES];
    struct slice args[] = {decimal(text, time)};
    ask_number(r, "report_close", 1, args, done, ctx);
}

/* The parts of "<kind>|<start>|<domain>". false: damaged. */
static bool read_bucket(char *bucket, struct report_due *due) {
    char *start = strchr(bucket, '|'), *domain = start ? strchr(start + 1, '|') : NULL;
    if (!domain) return false;
    *start = *domain = 0;
    due->kind = bucket;
    due->start = strtoll(start + 1, NULL, 10);
    due->domain = domain + 1;
    return true;
}

static void on_take(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    struct report_due due = {0};
    int error = redis_reply_error(reply);
    json_t *policy = NULL, *rows = NULL;
    char *parts = NULL;
    if (!error && reply->type == REDIS_REPLY_ARRAY && reply->elements == 5 &&
        reply->element[4]->type == REDIS_REPLY_ARRAY) {
        struct slice bucket = redis_reply_slice(reply->element[0]), text = redis_reply_slice(reply->element[1]);
        const redisReply *all = reply->element[4];
        policy = json_loadb(text.p, text.n, 0, NULL);
        rows = json_object();
        for (size_t i = 0; i + 1 < all->elements; i += 2) {
            struct slice row = redis_reply_slice(all->element[i]);
            json_object_setn_new(rows, row.p, row.n, json_integer(redis_reply_integer(all->element[i + 1])));
        }
        parts = memory_copy(bucket);
        if (read_bucket(parts, &due)) due.bucket = bucket.p;
        due.end = redis_reply_integer(reply->element[2]);
        due.due = redis_reply_integer(reply->element[3]);
        due.policy = policy;
        due.rows = rows;
    }
    ((report_take_fn *)p.done)(p.ctx, error, &due);
    json_decref(policy);
    json_decref(rows);
    free(parts);
}

void report_take(struct redis *r, int64_t now, int lease_s, const char *token, report_take_fn *done, void *ctx) {
    char a[DECIMAL_BYTES], b[DECIMAL_BYTES];
    struct slice args[] = {decimal(a, now), decimal(b, lease_s), slice_of(token)};
    redis_fcall(r, on_take, PENDING(done, ctx), "report_take", key, 3, args);
}

void report_put_off(struct redis *r, const char *bucket, const char *token, int64_t until, report_number_fn *done,
                    void *ctx) {
    char text[DECIMAL_BYTES];
    struct slice args[] = {slice_of(bucket), decimal(text, until), slice_of(token)};
    ask_number(r, "report_put_off", 3, args, done, ctx);
}

void report_sent(struct redis *r, const char *bucket, size_t count, const struct report_outcome outcomes[],
                 report_number_fn *done, void *ctx) {
    struct slice args[1 + 2 * REPORT_SENT_ONCE_MAX] = {slice_of(bucket)};
    char *texts[REPORT_SENT_ONCE_MAX];
    size_t n = count < REPORT_SENT_ONCE_MAX ? count : REPORT_SENT_ONCE_MAX;
    for (size_t i = 0; i < n; i++) {
        texts[i] = dump(outcomes[i].what);
        args[1 + 2 * i] = slice_of(outcomes[i].id);
        args[2 + 2 * i] = slice_of(texts[i]);
    }
    ask_number(r, "report_sent", 1 + 2 * n, args, done, ctx);
    for (size_t i = 0; i < n; i++) free(texts[i]);
    for (size_t i = 0; i < count; i++) json_decref(outcomes[i].what);
}

void report_failure_allowed(struct redis *r, const char *domain, int64_t hour, const char *id, int most,
                            report_number_fn *done, void *ctx) {
    char a[DECIMAL_BYTES], b[DECIMAL_BYTES];
    struct slice args[] = {slice_of(domain), decimal(a, hour), slice_of(id), decimal(b, most),
                           SLICE("691200")}; /* longer than the stream keeps events */
    ask_number(r, "report_failure_allowed", 5, args, done, ctx);
}

void report_failure_sent(struct redis *r, const char *id, json_t *what, report_number_fn *done, void *ctx) {
    char *text = dump(what);
    struct slice args[] = {slice_of(id), slice_of(text)};
    ask_number(r, "report_failure_sent", 2, args, done, ctx);
    free(text);
    json_decref(what);
}

void report_own(struct redis *r, const char *id, int64_t now, report_number_fn *done, void *ctx) {
    char a[DECIMAL_BYTES];
    struct slice args[] = {slice_of(id), decimal(a, now)};
    ask_number(r, "report_own", 2, args, done, ctx);
}

/* In */

void report_keep(struct redis *r, const struct report_kept *kept, report_number_fn *done, void *ctx) {
    size_t n = kept->summary_count < REPORT_SUMMARY_MAX ? kept->summary_count : REPORT_SUMMARY_MAX, argc = 8;
    struct slice args[8 + 2 * REPORT_SUMMARY_MAX];
    char size[DECIMAL_BYTES], day[DECIMAL_BYTES], (*counts)[DECIMAL_BYTES] = memory_alloc((n + 1) * sizeof *counts);
    char *listing = dump(kept->listing), *text = kept->report ? dump(kept->report) : memory_copy(SLICE("null"));
    size_t bytes = strlen(text), room = ZSTD_compressBound(bytes);
    char *packed = memory_alloc(room);
    size_t packed_n = ZSTD_compress(packed, room, text, bytes, ZSTD_LEVEL);
    if (ZSTD_isError(packed_n))
        memory_exhausted(); /* with room for the bound, only memory can be
                               missing */
    args[0] = kept->id;
    args[1] = slice_of(kept->kind);
    args[2] = slice_of(kept->domain);
    args[3] = slice_of(kept->digest);
    args[4] = slice_of(listing);
    args[5] = slice_make(packed, packed_n);
    args[6] = decimal(size, (int64_t)bytes);
    args[7] = decimal(day, kept->day);
    for (size_t i = 0; i < n; i++) {
        args[argc++] = slice_of(kept->summary[i].row);
        args[argc++] = decimal(counts[i], kept->summary[i].messages);
    }
    ask_number(r, "report_keep", argc, args, done, ctx);
    free(counts);
    free(listing);
    free(text);
    free(packed);
}

void report_forget(struct redis *r, const char *first_id, int64_t first_day, int most, report_number_fn *done,
                   void *ctx) {
    char a[DECIMAL_BYTES], b[DECIMAL_BYTES];
    struct slice args[] = {slice_of(first_id), decimal(a, first_day), decimal(b, most)};
    ask_number(r, "report_forget", 3, args, done, ctx);
}

/* For people */

static json_t *load(const redisReply *reply) {
    struct slice text = redis_reply_slice(reply);
    json_t *value = json_loadb(text.p, text.n, 0, NULL);
    return json_is_object(value) ? value : (json_decref(value), json_object());
}

static void on_list(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    json_t *list = error ? NULL : json_array();
    for (size_t i = 0; !error && reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        json_t *one = load(reply->element[i + 1]);
        struct slice id = redis_reply_slice(reply->element[i]);
        json_object_set_new(one, "id", json_stringn(id.p, id.n));
        json_array_append_new(list, one);
    }
    ((report_json_fn *)p.done)(p.ctx, error, list);
    json_decref(list);
}

void report_list(struct redis *r, const char *kind, const char *domain, const char *after, size_t limit,
                 report_json_fn *done, void *ctx) {
    char a[DECIMAL_BYTES];
    struct slice args[] = {slice_of(kind), slice_of(domain), slice_of(after), decimal(a, (int64_t)limit)};
    redis_fcall(r, on_list, PENDING(done, ctx), "report_list", key, 4, args);
}

void report_sent_list(struct redis *r, const char *after, size_t limit, report_json_fn *done, void *ctx) {
    char a[DECIMAL_BYTES];
    struct slice args[] = {slice_of(after), decimal(a, (int64_t)limit)};
    redis_fcall(r, on_list, PENDING(done, ctx), "report_sent_list", key, 2, args);
}

/* The JSON of a kept report; null when it is damaged. */
static json_t *unpack(struct slice packed, long long size) {
    json_t *report = NULL;
    if (size > 0 && size <= REPORT_BODY_MAX) {
        char *text = memory_alloc((size_t)size);
        size_t n = ZSTD_decompress(text, (size_t)size, packed.p, packed.n);
        if (!ZSTD_isError(n)) report = json_loadb(text, n, JSON_DECODE_ANY, NULL);
        free(text);
    }
    if (!report) log_error("a kept report is damaged", NULL);
    return report ? report : json_null();
}

static void on_read(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    json_t *value = NULL;
    if (!error && (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4)) error = STORE_NOT_FOUND;
    if (!error) {
        struct slice kind = redis_reply_slice(reply->element[0]);
        value = load(reply->element[1]);
        json_object_set_new(value, "kind", json_stringn(kind.p, kind.n));
        json_object_set_new(value, "report",
                            unpack(redis_reply_slice(reply->element[2]), redis_reply_integer(reply->element[3])));
    }
    ((report_json_fn *)p.done)(p.ctx, error, value);
    json_decref(value);
}

void report_read(struct redis *r, const char *id, report_json_fn *done, void *ctx) {
    struct slice args[] = {slice_of(id)};
    redis_fcall(r, on_read, PENDING(done, ctx), "report_read", key, 1, args);
}

static void on_summary(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    json_t *rows = error ? NULL : json_object();
    for (size_t i = 0; !error && reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        struct slice row = redis_reply_slice(reply->element[i]);
        json_int_t before = json_integer_value(json_object_getn(rows, row.p, row.n));
        json_object_setn_new(rows, row.p, row.n, json_integer(before + redis_reply_integer(reply->element[i + 1])));
    }
    ((report_json_fn *)p.done)(p.ctx, error, rows);
    json_decref(rows);
}

void report_summary(struct redis *r, const char *domain, int64_t first_day, int64_t last_day, report_json_fn *done,
                    void *ctx) {
    char a[DECIMAL_BYTES], b[DECIMAL_BYTES];
    struct slice args[] = {slice_of(domain), decimal(a, first_day), decimal(b, last_day)};
    redis_fcall(r, on_summary, PENDING(done, ctx), "report_summary", key, 3, args);
}
