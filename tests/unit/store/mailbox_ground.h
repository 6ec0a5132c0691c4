/* The mailbox door with callbacks that keep what they are told, for the tests of it. */
#ifndef POSTBUS_TESTS_STORE_MAILBOX_GROUND_H
#define POSTBUS_TESTS_STORE_MAILBOX_GROUND_H

#include "libcommon/store/blob.h"
#include "libcommon/store/mailbox.h"
#include "tests/unit/store/ground.h"

enum { MANY = 20000, UIDS_MAX = 30000 };

/* What the last callback said. */
static struct {
    bool done;
    int error;
    uint32_t folder, uid, uidvalidity, generation;
    uint64_t modseq, bytes, messages;
    bool duplicate, full;
    size_t count, other_count;
    uint32_t first[UIDS_MAX], second[UIDS_MAX];
    struct mailbox_record records[UIDS_MAX];
    struct mailbox_folder folder_state;
    size_t delivered_count, answers, duplicates;
    struct mailbox_delivered delivered[MAILBOX_RECIPIENTS_MAX];
    char text[32768];
} got;

static inline void wait_for_answer(void) {
    int64_t end = clock_monotonic_us() + 60 * 1000000;
    while (!got.done && clock_monotonic_us() < end) event_base_loop(ground.base, EVLOOP_ONCE);
    assert_true(got.done);
}

static inline void say(int error) {
    got.error = error;
    got.done = true;
}

static inline void on_done(void *ctx, int error) {
    (void)ctx;
    say(error);
}

static inline void on_reply(void *ctx, const redisReply *reply) {
    (void)ctx;
    struct slice s = redis_reply_slice(reply);
    snprintf(got.text, sizeof got.text, "%.*s", SLICE_FMT(s));
    got.count = (size_t)redis_reply_integer(reply);
    say(redis_reply_error(reply));
}

static inline size_t redis_count(const char *command, const char *key) {
    struct slice words[] = {slice_of(command), slice_of(key)};
    got.done = false;
    redis_command(ground.redis, on_reply, NULL, 2, words);
    wait_for_answer();
    return got.count;
}

static inline bool has_blob(const char *id) {
    char key[64];
    snprintf(key, sizeof key, "b:{%.26s}", id);
    return redis_count("EXISTS", key) == 1;
}

/* Releases come after the answer that they follow from, and nobody is told of them. */
static inline bool becomes(size_t count, const char *command, const char *key) {
    int64_t end = clock_monotonic_us() + 10 * 1000000;
    while (redis_count(command, key) != count) {
        if (clock_monotonic_us() > end) return false;
        ground_run(5);
    }
    return true;
}

static inline bool loses_blob(const char *id) {
    char key[64];
    snprintf(key, sizeof key, "b:{%.26s}", id);
    return becomes(0, "EXISTS", key);
}

static inline void on_delivered(void *ctx, size_t count, const struct mailbox_delivered results[]) {
    (void)ctx;
    got.delivered_count = count;
    memcpy(got.delivered, results, count * sizeof *results); /* its texts are gone after this
                                                                call */
    got.folder = results[0].folder_id;
    got.uid = results[0].uid;
    got.modseq = results[0].modseq;
    got.duplicate = results[0].duplicate;
    got.answers++;
    got.duplicates += results[0].duplicate;
    snprintf(got.text, sizeof got.text, "%.*s", SLICE_FMT(results[0].folder));
    say(results[0].error);
}

static inline struct slice attempt_ref(char out[MAILBOX_REF_MAX], struct slice user, const char *rcpt,
                                       const char *attempt) {
    return slice_of(mailbox_blob_ref(out, user, slice_of(rcpt), slice_of(attempt)));
}

/* Writes the body with the reference of one attempt. */
static inline void hold(struct slice user, const char *id, const char *rcpt, const char *attempt,
                        struct slice message) {
    char text[MAILBOX_REF_MAX];
    struct slice ref = attempt_ref(text, user, rcpt, attempt);
    got.done = false;
    blob_write(ground.redis, slice_of(id), message, 1, &ref, on_done, NULL);
    wait_for_answer();
    assert_int_equal(got.error, 0);
}

/* Asks for a delivery and does not wait. */
static inline void ask_delivery(struct slice user, const char *id, const char *rcpt, const char *attempt,
                                const char *folder, struct slice message) {
    struct mailbox_recipient one = {slice_of(rcpt), SLICE("Return-Path: <>\r\n")};
    struct buf listing = {0};
    mailbox_listing_build(message, &listing);
    struct mailbox_delivery d = {.id = slice_of(id),
                                 .attempt = slice_of(attempt),
                                 .folder = slice_of(folder),
                                 .listing = buf_slice(&listing),
                                 .size = message.n,
                                 .date = 1700000000,
                                 .count = 1,
                                 .rcpts = &one};
    got.done = false;
    mailbox_deliver(ground.redis, user, &d, on_delivered, NULL);
    buf_free(&listing);
}

static inline int deliver_as(struct slice user, const char *id, const char *rcpt, const char *attempt,
                             struct slice message) {
    hold(user, id, rcpt, attempt, message);
    ask_delivery(user, id, rcpt, attempt, "", message);
    wait_for_answer();
    return got.error;
}

/* Each time under another attempt's name. */
static inline int deliver(struct slice user, const char *id, const char *rcpt, struct slice message) {
    char attempt[16];
    static int attempts;
    snprintf(attempt, sizeof attempt, "t%d", ++attempts);
    return deliver_as(user, id, rcpt, attempt, message);
}

static inline void on_sync(void *ctx, int error, const struct mailbox_folder *folder, bool full, size_t count,
                           const struct mailbox_record records[], size_t vanished_count, const uint32_t vanished[]) {
    (void)ctx;
    if (folder)
        got.folder_state = *folder; /* its texts are gone after this call: only numbers are
                                       looked at */
    got.full = full;
    got.count = count;
    got.other_count = vanished_count;
    if (count) memcpy(got.records, records, count * sizeof *records);
    if (vanished_count) memcpy(got.second, vanished, vanished_count * sizeof *vanished);
    say(error);
}

static inline int sync_folder(struct slice user, uint32_t folder, uint64_t since) {
    got.done = false;
    mailbox_sync(ground.redis, user, folder, since, on_sync, NULL);
    wait_for_answer();
    return got.error;
}

static inline void on_stored(void *ctx, int error, uint32_t generation, size_t count,
                             const struct mailbox_record records[], size_t refused_count, const uint32_t refused[]) {
    (void)ctx;
    got.generation = generation;
    got.count = count;
    got.other_count = refused_count;
    if (count) memcpy(got.records, records, count * sizeof *records);
    if (refused_count) memcpy(got.second, refused, refused_count * sizeof *refused);
    say(error);
}

static inline int store(struct slice user, uint32_t folder, size_t n, const uint32_t uids[], enum mailbox_store_how how,
                        uint64_t flags, const char *keyword, uint64_t unchanged_since) {
    struct slice word = slice_of(keyword);
    got.done = false;
    mailbox_store(ground.redis, user, folder, n, uids, how, flags, keyword ? 1 : 0, &word, unchanged_since, on_stored,
                  NULL);
    wait_for_answer();
    return got.error;
}

static inline void on_copied(void *ctx, int error, uint32_t uidvalidity, size_t count, const uint32_t from[],
                             const uint32_t to[]) {
    (void)ctx;
    got.uidvalidity = uidvalidity;
    got.count = count;
    if (count) memcpy(got.first, from, count * sizeof *from);
    if (count) memcpy(got.second, to, count * sizeof *to);
    say(error);
}

static inline int copy(struct slice user, uint32_t folder, size_t n, const uint32_t uids[], const char *to, bool move) {
    got.done = false;
    mailbox_copy(ground.redis, user, folder, n, uids, slice_of(to), move, on_copied, NULL);
    wait_for_answer();
    return got.error;
}

static inline void on_expunged(void *ctx, int error, size_t count, const uint32_t uids[], uint64_t modseq) {
    (void)ctx;
    got.count = count;
    got.modseq = modseq;
    if (count) memcpy(got.first, uids, count * sizeof *uids);
    say(error);
}

static inline int expunge(struct slice user, uint32_t folder, size_t n, const uint32_t uids[], bool only_deleted) {
    got.done = false;
    mailbox_expunge(ground.redis, user, folder, n, uids, only_deleted, on_expunged, NULL);
    wait_for_answer();
    return got.error;
}

static inline void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    (void)ctx;
    got.text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(got.text);
        snprintf(got.text + n, sizeof got.text - n, "%s%.*s%.*s", i ? "," : "", SLICE_FMT(folders[i].name),
                 SLICE_FMT(folders[i].special_use));
        got.first[i] = folders[i].id;
    }
    got.count = count;
    say(error);
}

static inline void folders(struct slice user) {
    got.done = false;
    mailbox_folders(ground.redis, user, on_folders, NULL);
    wait_for_answer();
    assert_int_equal(got.error, 0);
}

static inline void on_made(void *ctx, int error, uint32_t folder, uint32_t uidvalidity) {
    (void)ctx;
    got.folder = folder;
    got.uidvalidity = uidvalidity;
    say(error);
}

static inline int make(struct slice user, const char *name) {
    got.done = false;
    mailbox_folder_create(ground.redis, user, slice_of(name), SLICE(""), on_made, NULL);
    wait_for_answer();
    return got.error;
}

static inline void on_stat(void *ctx, int error, const struct mailbox_stat *stat) {
    (void)ctx;
    got.bytes = stat->bytes;
    got.messages = stat->messages;
    say(error);
}

static inline void stat_user(struct slice user) {
    got.done = false;
    mailbox_stat(ground.redis, user, on_stat, NULL);
    wait_for_answer();
}

static inline void on_read(void *ctx, int error, struct slice message) {
    (void)ctx;
    snprintf(got.text, sizeof got.text, "%.*s", SLICE_FMT(message));
    say(error);
}

static inline void on_appended(void *ctx, int error, uint32_t uidvalidity, uint32_t uid) {
    (void)ctx;
    got.uidvalidity = uidvalidity;
    got.uid = uid;
    say(error);
}

static inline uint32_t folder_id(struct slice user, const char *name) {
    got.done = false;
    mailbox_folder_find(ground.redis, user, slice_of(name), on_folders, NULL);
    wait_for_answer();
    assert_int_equal(got.count, 1);
    return got.first[0];
}

static inline int call(const char *function, size_t argc, const struct slice argv[]) {
    got.done = false;
    redis_fcall(ground.redis, on_reply, NULL, function, SLICE("{u:cutoff}"), argc, argv);
    wait_for_answer();
    return got.error;
}

static inline int start_redis(void **state) {
    (void)state;
    return ground_start(2, (const char *const[]){"blob", "mailbox"});
}

#endif
