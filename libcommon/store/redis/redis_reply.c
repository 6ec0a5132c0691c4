#include <stdlib.h>

#include "libcommon/base/log.h"
#include "libcommon/store/redis.h"

int redis_reply_error(const redisReply *reply) {
    static const struct {
        const char *word;
        int error;
    } words[] = {
        {"NOTFOUND", STORE_NOT_FOUND}, {"EXISTS", STORE_EXISTS},   {"OVERQUOTA", STORE_OVER_QUOTA},
        {"CONFLICT", STORE_CONFLICT},  {"INVALID", STORE_INVALID}, {"FULL", STORE_FULL},
        {"OOM", STORE_FULL},           {"MISCONF", STORE_FULL},    {"LOST", STORE_LOST},
        {"LIMIT", STORE_LIMIT},
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
    static const char *const texts[] = {"ok",         "unavailable", "full",    "not found",  "exists",
                                        "over quota", "conflict",    "invalid", "lease lost", "too many"};
    return error <= 0 && error >= STORE_LIMIT ? texts[-error] : "ok";
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
