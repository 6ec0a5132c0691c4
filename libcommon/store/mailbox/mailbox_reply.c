#include <ctype.h>
#include <utf8proc.h>

#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "libcommon/store/mailbox/mailbox_private.h"

char *mailbox_key(struct slice user) {
    char *key = memory_alloc(user.n + 5);
    memcpy(key, "{u:", 3);
    memcpy(key + 3, user.p, user.n);
    memcpy(key + 3 + user.n, "}", 2);
    return key;
}

struct slice mailbox_user_of(const char *key) { return slice_make(key + 3, strlen(key) - 4); }

struct slice mailbox_number(char out[NUMBER_BYTES], int64_t value) {
    int n = snprintf(out, NUMBER_BYTES, "%lld", (long long)value);
    return slice_make(out, (size_t)n);
}

struct slice mailbox_undo_text(char out[NUMBER_BYTES]) {
    return mailbox_number(out, config_seconds("POSTBUS_UNDO", "0", 0, 3650 * 86400LL));
}

void mailbox_fcall(struct redis *r, redis_reply_fn *done, void *ctx, const char *function, const char *key, size_t argc,
                   const struct slice argv[]) {
    redis_fcall(r, done, ctx, function, slice_of(key), argc, argv);
}

const redisReply *mailbox_element(const redisReply *reply, size_t i) {
    return reply && reply->type == REDIS_REPLY_ARRAY && i < reply->elements ? reply->element[i] : NULL;
}

int mailbox_reply_array(const redisReply *reply, size_t n) {
    int error = redis_reply_error(reply);
    if (!error && (reply->type != REDIS_REPLY_ARRAY || reply->elements < n)) {
        log_error(
            "a mailbox Function answered another shape than expected; are the Functions loaded from this version?",
            NULL);
        error = STORE_INVALID;
    }
    return error;
}

uint32_t mailbox_u32(const char *p) {
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

uint64_t mailbox_u64(const char *p) { return mailbox_u32(p) | (uint64_t)mailbox_u32(p + 4) << 32; }

struct buf mailbox_pack_uids(size_t count, const uint32_t uids[]) {
    struct buf out = {0};
    char *p = buf_reserve(&out, count * 4);
    for (size_t i = 0; i < count; i++, p += 4) {
        p[0] = (char)(uids[i] & 0xff);
        p[1] = (char)(uids[i] >> 8 & 0xff);
        p[2] = (char)(uids[i] >> 16 & 0xff);
        p[3] = (char)(uids[i] >> 24);
    }
    out.n = count * 4;
    return out;
}

size_t mailbox_unpack_uids(struct slice packed, uint32_t *out) {
    for (size_t i = 0; i < packed.n / 4; i++) out[i] = mailbox_u32(packed.p + 4 * i);
    return packed.n / 4;
}

bool mailbox_read_folder(uint32_t id, const redisReply *fields, struct mailbox_folder *out) {
    if (!fields || fields->type != REDIS_REPLY_ARRAY || fields->elements < 10 ||
        fields->element[0]->type != REDIS_REPLY_STRING)
        return false;
    long long number[10];
    for (size_t i = 0; i < 10; i++) number[i] = redis_reply_integer(fields->element[i]);
    memset(out, 0, sizeof *out);
    out->id = id;
    out->name = redis_reply_slice(fields->element[0]);
    out->uidvalidity = (uint32_t)number[1];
    out->uidnext = (uint32_t)number[2];
    out->highestmodseq = (uint64_t)number[3];
    out->messages = (uint32_t)number[4];
    out->unseen = (uint32_t)number[5];
    out->bytes = (uint64_t)number[6];
    out->subscribed = number[7] != 0;
    out->special_use = redis_reply_slice(fields->element[8]);
    out->keyword_generation = fields->elements > 11 ? (uint32_t)redis_reply_integer(fields->element[11]) : 0;
    struct slice rest = redis_reply_slice(fields->element[9]), word;
    while (rest.n && out->keyword_count < MAILBOX_KEYWORDS_MAX) {
        if (!slice_cut(&rest, ' ', &word)) {
            word = rest;
            rest.n = 0;
        }
        if (word.n) out->keywords[out->keyword_count++] = slice_is(word, MAILBOX_KEYWORD_FREE) ? SLICE("") : word;
    }
    return true;
}

struct buf mailbox_join_keywords(size_t count, const struct slice keywords[]) {
    struct buf out = {0};
    for (size_t i = 0; i < count; i++) {
        if (i) buf_add_char(&out, ' ');
        buf_add_slice(&out, keywords[i]);
    }
    return out;
}

bool mailbox_name_clean(struct slice name, char out[MAILBOX_NAME_MAX + 1], struct slice *clean) {
    if (name.n == 0 || name.n > MAILBOX_NAME_MAX || name.p[0] == '/' || name.p[name.n - 1] == '/') return false;
    for (size_t i = 0; i < name.n;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t n =
            utf8proc_iterate((const utf8proc_uint8_t *)name.p + i, (utf8proc_ssize_t)(name.n - i), &code);
        if (n <= 0 || code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029) return false;
        if (code == '/' && name.p[i + 1] == '/') return false;
        i += (size_t)n;
    }
    memcpy(out, name.p, name.n);
    out[name.n] = '\0';
    if (slice_starts_nocase(name, SLICE("INBOX")) && (name.n == 5 || name.p[5] == '/')) memcpy(out, "INBOX", 5);
    *clean = slice_make(out, name.n);
    return true;
}

/* A refusal that is reported from the loop: sends a command that Redis answers at once, and reports
 * the error instead of its answer. */
struct failing {
    mailbox_done_fn *done;
    void *ctx;
    int error;
};

static void on_failing(void *ctx, const redisReply *reply) {
    struct failing *f = ctx;
    (void)reply;
    f->done(f->ctx, f->error);
    free(f);
}

void mailbox_fail_done(struct redis *r, mailbox_done_fn *done, void *ctx, int error) {
    struct failing *f = memory_alloc(sizeof *f);
    *f = (struct failing){done, ctx, error};
    struct slice ping = SLICE("PING");
    redis_command(r, on_failing, f, 1, &ping);
}
