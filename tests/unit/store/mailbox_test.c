/* The mailbox door against a real redis-server with our Functions, started here on a port of its
 * own: what the callbacks get is what the store holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/ulid.h"
#include "libcommon/store/blob.h"
#include "libcommon/store/mailbox.h"

enum { MANY = 20000, UIDS_MAX = 30000 };

static struct {
    struct event_base *base;
    struct redis *redis;
    pid_t server;
    char directory[64];
    int port;
} ground;

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

static void wait_for_answer(void) {
    int64_t end = clock_monotonic_us() + 60 * 1000000;
    while (!got.done && clock_monotonic_us() < end) event_base_loop(ground.base, EVLOOP_ONCE);
    assert_true(got.done);
}

static void run_for(int ms) {
    struct timeval time = {ms / 1000, (ms % 1000) * 1000};
    event_base_loopexit(ground.base, &time);
    event_base_dispatch(ground.base);
}

static void say(int error) {
    got.error = error;
    got.done = true;
}

static void on_done(void *ctx, int error) {
    (void)ctx;
    say(error);
}

static void on_reply(void *ctx, const redisReply *reply) {
    (void)ctx;
    struct slice s = redis_reply_slice(reply);
    snprintf(got.text, sizeof got.text, "%.*s", SLICE_FMT(s));
    got.count = (size_t)redis_reply_integer(reply);
    say(redis_reply_error(reply));
}

static void on_packed(void *ctx, const redisReply *reply) {
    (void)ctx;
    struct slice s = redis_reply_slice(reply);
    got.count = s.n < sizeof got.text ? s.n : 0;
    memcpy(got.text, s.p, got.count);
    say(redis_reply_error(reply));
}

static size_t redis_count(const char *command, const char *key) {
    struct slice words[] = {slice_of(command), slice_of(key)};
    got.done = false;
    redis_command(ground.redis, on_reply, NULL, 2, words);
    wait_for_answer();
    return got.count;
}

static bool has_blob(const char *id) {
    char key[64];
    snprintf(key, sizeof key, "b:{%.26s}", id);
    return redis_count("EXISTS", key) == 1;
}

/* Releases come after the answer that they follow from, and nobody is told of them. */
static bool becomes(size_t count, const char *command, const char *key) {
    int64_t end = clock_monotonic_us() + 10 * 1000000;
    while (redis_count(command, key) != count) {
        if (clock_monotonic_us() > end) return false;
        run_for(5);
    }
    return true;
}

static bool loses_blob(const char *id) {
    char key[64];
    snprintf(key, sizeof key, "b:{%.26s}", id);
    return becomes(0, "EXISTS", key);
}

static void on_delivered(void *ctx, size_t count, const struct mailbox_delivered results[]) {
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

static struct slice attempt_ref(char out[MAILBOX_REF_MAX], struct slice user, const char *rcpt, const char *attempt) {
    return slice_of(mailbox_blob_ref(out, user, slice_of(rcpt), slice_of(attempt)));
}

/* Writes the body with the reference of one attempt. */
static void hold(struct slice user, const char *id, const char *rcpt, const char *attempt, struct slice message) {
    char text[MAILBOX_REF_MAX];
    struct slice ref = attempt_ref(text, user, rcpt, attempt);
    got.done = false;
    blob_write(ground.redis, slice_of(id), message, 1, &ref, on_done, NULL);
    wait_for_answer();
    assert_int_equal(got.error, 0);
}

/* Asks for a delivery and does not wait. */
static void ask_delivery(struct slice user, const char *id, const char *rcpt, const char *attempt, const char *folder,
                         struct slice message) {
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

/* Asks for many deliveries, a bounded number of them under way at a time, and waits for every
 * answer. */
static void deliver_many(struct slice user, uint32_t uids[], size_t count) {
    enum { UNDER_WAY = 200 };
    int64_t end = clock_monotonic_us() + 120 * 1000000;
    char id[ULID_BYTES];
    got.answers = 0, got.error = 0;
    for (size_t asked = 0; got.answers < count;) {
        if (asked < count && asked - got.answers < UNDER_WAY) {
            ulid_create(id);
            ask_delivery(user, id, "a@x.test", "t", "", SLICE("Subject: s\r\n\r\n"));
            uids[asked] = (uint32_t)asked + 1;
            asked++;
        } else {
            event_base_loop(ground.base, EVLOOP_ONCE);
            assert_int_equal(got.error, 0);
            assert_true(clock_monotonic_us() < end);
        }
    }
}

static int deliver_as(struct slice user, const char *id, const char *rcpt, const char *attempt, struct slice message) {
    hold(user, id, rcpt, attempt, message);
    ask_delivery(user, id, rcpt, attempt, "", message);
    wait_for_answer();
    return got.error;
}

/* Each time under another attempt's name. */
static int deliver(struct slice user, const char *id, const char *rcpt, struct slice message) {
    char attempt[16];
    static int attempts;
    snprintf(attempt, sizeof attempt, "t%d", ++attempts);
    return deliver_as(user, id, rcpt, attempt, message);
}

static void on_sync(void *ctx, int error, const struct mailbox_folder *folder, bool full, size_t count,
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

static int sync_folder(struct slice user, uint32_t folder, uint64_t since) {
    got.done = false;
    mailbox_sync(ground.redis, user, folder, since, on_sync, NULL);
    wait_for_answer();
    return got.error;
}

static void on_stored(void *ctx, int error, uint32_t generation, size_t count, const struct mailbox_record records[],
                      size_t refused_count, const uint32_t refused[]) {
    (void)ctx;
    got.generation = generation;
    got.count = count;
    got.other_count = refused_count;
    if (count) memcpy(got.records, records, count * sizeof *records);
    if (refused_count) memcpy(got.second, refused, refused_count * sizeof *refused);
    say(error);
}

static int store(struct slice user, uint32_t folder, size_t n, const uint32_t uids[], enum mailbox_store_how how,
                 uint64_t flags, const char *keyword, uint64_t unchanged_since) {
    struct slice word = slice_of(keyword);
    got.done = false;
    mailbox_store(ground.redis, user, folder, n, uids, how, flags, keyword ? 1 : 0, &word, unchanged_since, on_stored,
                  NULL);
    wait_for_answer();
    return got.error;
}

static void on_copied(void *ctx, int error, uint32_t uidvalidity, size_t count, const uint32_t from[],
                      const uint32_t to[]) {
    (void)ctx;
    got.uidvalidity = uidvalidity;
    got.count = count;
    if (count) memcpy(got.first, from, count * sizeof *from);
    if (count) memcpy(got.second, to, count * sizeof *to);
    say(error);
}

static int copy(struct slice user, uint32_t folder, size_t n, const uint32_t uids[], const char *to, bool move) {
    got.done = false;
    mailbox_copy(ground.redis, user, folder, n, uids, slice_of(to), move, on_copied, NULL);
    wait_for_answer();
    return got.error;
}

static void on_expunged(void *ctx, int error, size_t count, const uint32_t uids[], uint64_t modseq) {
    (void)ctx;
    got.count = count;
    got.modseq = modseq;
    if (count) memcpy(got.first, uids, count * sizeof *uids);
    say(error);
}

static int expunge(struct slice user, uint32_t folder, size_t n, const uint32_t uids[], bool only_deleted) {
    got.done = false;
    mailbox_expunge(ground.redis, user, folder, n, uids, only_deleted, on_expunged, NULL);
    wait_for_answer();
    return got.error;
}

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
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

static void folders(struct slice user) {
    got.done = false;
    mailbox_folders(ground.redis, user, on_folders, NULL);
    wait_for_answer();
    assert_int_equal(got.error, 0);
}

static void on_made(void *ctx, int error, uint32_t folder, uint32_t uidvalidity) {
    (void)ctx;
    got.folder = folder;
    got.uidvalidity = uidvalidity;
    say(error);
}

static int make(struct slice user, const char *name) {
    got.done = false;
    mailbox_folder_create(ground.redis, user, slice_of(name), SLICE(""), on_made, NULL);
    wait_for_answer();
    return got.error;
}

static void on_stat(void *ctx, int error, const struct mailbox_stat *stat) {
    (void)ctx;
    got.bytes = stat->bytes;
    got.messages = stat->messages;
    say(error);
}

static void stat_user(struct slice user) {
    got.done = false;
    mailbox_stat(ground.redis, user, on_stat, NULL);
    wait_for_answer();
}

static void on_read(void *ctx, int error, struct slice message) {
    (void)ctx;
    snprintf(got.text, sizeof got.text, "%.*s", SLICE_FMT(message));
    say(error);
}

static void on_appended(void *ctx, int error, uint32_t uidvalidity, uint32_t uid) {
    (void)ctx;
    got.uidvalidity = uidvalidity;
    got.uid = uid;
    say(error);
}

static void on_cached(void *ctx, int error, size_t count, const struct mailbox_cached cached[]) {
    (void)ctx;
    got.count = count;
    if (count)
        snprintf(got.text, sizeof got.text, "%u %.*s %.*s", cached[0].uid, SLICE_FMT(cached[0].envelope),
                 SLICE_FMT(cached[0].header));
    say(error);
}

static void on_keys(void *ctx, int error, size_t count, const struct mailbox_cached cached[]) {
    struct mailbox_keys keys;
    (void)ctx;
    assert_int_equal(error, 0);
    assert_int_equal(count, 1);
    assert_true(mailbox_keys_read(cached[0].keys, &keys));
    snprintf(got.text, sizeof got.text, "%.*s|%.*s", SLICE_FMT(keys.subject), SLICE_FMT(cached[0].preview));
    say(error);
}

static void test_once_and_read(void **state) {
    struct slice user = SLICE("once");
    char id[ULID_BYTES];
    uint32_t uids[] = {1, 7};
    (void)state;
    ulid_create(id);
    assert_int_equal(deliver(user, id, "a@x.test", SLICE("Subject: s\r\nX-Y: z\r\n\r\nbody")), 0);
    uint64_t modseq = got.modseq;
    assert_false(got.duplicate);
    assert_int_equal(deliver(user, id, "a@x.test", SLICE("Subject: s\r\n\r\nbody")), 0);
    assert_true(got.duplicate);
    assert_int_equal(got.uid, 1);
    assert_int_equal(got.modseq, modseq);
    stat_user(user);
    assert_int_equal(got.messages, 1);
    got.done = false;
    mailbox_read(ground.redis, user, got.folder, 1, on_read, NULL);
    wait_for_answer();
    assert_string_equal(got.text, "Return-Path: <>\r\nSubject: s\r\nX-Y: z\r\n\r\nbody");
    got.done = false;
    mailbox_cached(ground.redis, user, got.folder, MAILBOX_ENVELOPE | MAILBOX_HEADER, 2, uids, on_cached, NULL);
    wait_for_answer();
    assert_int_equal(got.count, 1);
    assert_string_equal(got.text, "1 (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL) Subject: s\r\n");
    got.done = false;
    mailbox_read(ground.redis, user, got.folder, 2, on_read, NULL);
    wait_for_answer();
    assert_int_equal(got.error, STORE_NOT_FOUND);
    uint32_t inbox = got.folder;
    assert_int_equal(sync_folder(user, inbox, 0), 0);
    struct mailbox_record record = got.records[0];
    for (int gone = 0; gone < 2; gone++) {
        got.done = false;
        mailbox_read_record(ground.redis, user, inbox, &record, on_read, NULL);
        wait_for_answer();
        if (gone) break;
        assert_int_equal(got.error, 0);
        assert_string_equal(got.text, "Return-Path: <>\r\nSubject: s\r\nX-Y: z\r\n\r\nbody");
        assert_int_equal(expunge(user, inbox, 1, uids, false), 0);
    }
    assert_int_equal(got.error, STORE_NOT_FOUND);
}

/* A message that says more than is kept is listed all the same. */
static void test_texts_too_large_to_keep(void **state) {
    struct slice user = SLICE("large");
    struct buf message = {0};
    char id[ULID_BYTES];
    uint32_t uids[] = {1, 2};
    (void)state;
    ulid_create(id);
    buf_add_str(&message, "Subject: s\r\nReferences:");
    while (message.n <= MAILBOX_CACHED_MAX) buf_add_str(&message, " <x@x.test>\r\n");
    buf_add_str(&message, "\r\nbody");
    assert_int_equal(deliver(user, id, "a@x.test", buf_slice(&message)), 0);
    ulid_create(id);
    assert_int_equal(deliver(user, id, "a@x.test", SLICE("Subject: small\r\n\r\n")), 0);
    got.done = false;
    mailbox_cached(ground.redis, user, got.folder, MAILBOX_ENVELOPE | MAILBOX_HEADER, 2, uids, on_cached, NULL);
    wait_for_answer();
    assert_int_equal(got.error, 0);
    assert_int_equal(got.count, 2);
    assert_non_null(strstr(
        got.text, "1 (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL) Subject: s\r\nReferences: <x@x.test>\r\n <x@x.test>"));
    buf_free(&message);
}

static uint32_t folder_id(struct slice user, const char *name) {
    got.done = false;
    mailbox_folder_find(ground.redis, user, slice_of(name), on_folders, NULL);
    wait_for_answer();
    assert_int_equal(got.count, 1);
    return got.first[0];
}

static void append(struct slice user, uint32_t folder, struct slice message) {
    got.done = false;
    mailbox_append(ground.redis, user, folder, message, 0, 0, NULL, 1, on_appended, NULL);
    wait_for_answer();
    assert_int_equal(got.error, 0);
}

/* The records of a folder into got.records. */
static void read_records(struct slice user, uint32_t folder) { assert_int_equal(sync_folder(user, folder, 0), 0); }

/* RFC 8474 §5.1: one EMAILID for copies, others for messages that differ only in what was put
 * before them; RFC 8514: COPY makes a new SAVEDATE. */
static void test_object_ids(void **state) {
    struct slice user = SLICE("objects"), message = SLICE("Message-ID: <1@x.test>\r\n\r\nbody");
    char id[ULID_BYTES], one[MAILBOX_OBJECT_ID_MAX], other[MAILBOX_OBJECT_ID_MAX];
    (void)state;
    ulid_create(id);
    assert_int_equal(deliver(user, id, "a@x.test", message), 0);
    uint32_t inbox = got.folder;
    append(user, inbox, message);
    assert_int_equal(copy(user, inbox, 1, (uint32_t[]){1}, "Archive", false), 0);
    read_records(user, inbox);
    struct mailbox_record delivered = got.records[0], appended = got.records[1];
    assert_true(delivered.savedate > 1600000000);
    assert_false(slice_equal(mailbox_email_id(&delivered, one), mailbox_email_id(&appended, other)));
    assert_int_equal(delivered.thread, appended.thread);
    assert_true(mailbox_thread_id(&delivered, one).n > 1);
    read_records(user, folder_id(user, "Archive"));
    assert_true(slice_equal(mailbox_email_id(&delivered, one), mailbox_email_id(&got.records[0], other)));
    assert_int_equal(got.records[0].thread, delivered.thread);
    assert_true(got.records[0].savedate >= delivered.savedate);
}

/* RFC 8474 §5.2: answers are in the thread of what they refer to, whichever comes first. */
static void test_threads(void **state) {
    struct slice user = SLICE("threads");
    static const char *const messages[] = {
        "Message-ID: <a@x.test>\r\n\r\n",
        "Message-ID: <b@x.test>\r\nIn-Reply-To: <a@x.test>\r\n\r\n",
        "Message-ID: <z@x.test>\r\nReferences: <y@x.test>\r\n\r\n", /* before what it refers to */
        "Message-ID: <y@x.test>\r\n\r\n",
        "Message-ID: <c@x.test>\r\nReferences: <a@x.test>\r\n <b@x.test>\r\n\r\n",
        "Subject: Re: a\r\n\r\n",
        "Subject: Re: a\r\n\r\n",
    };
    static const size_t same_as[] = {0, 0, 2, 2, 0, 5, 6};
    (void)state;
    uint32_t inbox = folder_id(user, "INBOX");
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) append(user, inbox, slice_of(messages[i]));
    read_records(user, inbox);
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        assert_true(got.records[i].thread > 0);
        for (size_t k = 0; k < i; k++)
            assert_int_equal(got.records[i].thread == got.records[k].thread, same_as[i] == same_as[k]);
    }
}

static void command_of(size_t count, const struct slice words[]) {
    got.done = false;
    redis_command(ground.redis, on_reply, NULL, count, words);
    wait_for_answer();
    assert_int_equal(got.error, 0);
}

/* A message as version 1 wrote it: a record of 58 bytes, and all that is cached in one hash. */
static void make_old(const char *user, uint32_t folder) {
    char records[64], cached[64], kept[400];
    static const char *const columns = "pesfhkw";
    snprintf(records, sizeof records, "{u:%s}:f:%u:m", user, folder);
    const struct slice shorten[] = {
        SLICE("EVAL"),
        SLICE("redis.call('HSET', KEYS[1], 1, string.sub(redis.call('HGET', KEYS[1], 1), 1, 58)); return 1"),
        SLICE("1"), slice_of(records)};
    command_of(4, shorten);
    for (const char *c = columns; *c; c++) {
        char key[64];
        snprintf(key, sizeof key, "{u:%s}:f:%u:%c", user, folder, *c);
        const struct slice words[] = {SLICE("DEL"), slice_of(key)};
        command_of(2, words);
    }
    static const char *const texts[] = {"Return-Path: <>\r\n", "(\"old\")", "(\"text\")", "(\"text\" \"plain\")",
                                        "Subject: s\r\n"};
    size_t n = 0;
    for (size_t i = 0; i < 5; i++) {
        size_t length = strlen(texts[i]);
        memcpy(kept + n, (char[]){(char)length, 0, 0, 0}, 4);
        memcpy(kept + n + 4, texts[i], length);
        n += 4 + length;
    }
    snprintf(cached, sizeof cached, "{u:%s}:f:%u:c", user, folder);
    const struct slice set[] = {SLICE("HSET"), slice_of(cached), SLICE("1"), slice_make(kept, n)};
    command_of(4, set);
}

/* Records of version 1 are read, and become records of the present version when they change. */
static void test_records_of_version_1(void **state) {
    struct slice user = SLICE("older");
    char id[ULID_BYTES], key[64];
    uint32_t one = 1;
    (void)state;
    ulid_create(id);
    assert_int_equal(deliver(user, id, "a@x.test", SLICE("Subject: s\r\n\r\nbody")), 0);
    uint32_t inbox = got.folder;
    make_old("older", inbox);
    read_records(user, inbox);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.records[0].savedate, 0);
    assert_int_equal(got.records[0].thread, 0);
    got.done = false;
    mailbox_read(ground.redis, user, inbox, 1, on_read, NULL);
    wait_for_answer();
    assert_string_equal(got.text, "Return-Path: <>\r\nSubject: s\r\n\r\nbody");
    got.done = false;
    mailbox_cached(ground.redis, user, inbox, MAILBOX_ENVELOPE | MAILBOX_HEADER, 1, &one, on_cached, NULL);
    wait_for_answer();
    assert_string_equal(got.text, "1 (\"old\") Subject: s\r\n");
    snprintf(key, sizeof key, "{u:older}:f:%u:c", inbox);
    assert_int_equal(redis_count("EXISTS", key), 0);
    got.done = false;
    mailbox_cached(ground.redis, user, inbox, MAILBOX_KEYS | MAILBOX_PREVIEW, 1, &one, on_keys, NULL);
    wait_for_answer();
    assert_string_equal(got.text, "s|body");
    got.done = false;
    mailbox_read(ground.redis, user, inbox, 1, on_read, NULL);
    wait_for_answer();
    assert_string_equal(got.text, "Return-Path: <>\r\nSubject: s\r\n\r\nbody");
    assert_int_equal(store(user, inbox, 1, &one, MAILBOX_ADD, MAILBOX_SEEN, NULL, 0), 0);
    assert_int_equal(copy(user, inbox, 1, &one, "Archive", false), 0);
    uint32_t archive = folder_id(user, "Archive");
    read_records(user, archive);
    assert_int_equal(got.records[0].flags, MAILBOX_SEEN);
    struct mailbox_record copied = got.records[0];
    got.done = false;
    mailbox_read_record(ground.redis, user, archive, &copied, on_read, NULL);
    wait_for_answer();
    assert_string_equal(got.text, "Return-Path: <>\r\nSubject: s\r\n\r\nbody");
}

/* Expunging a message that came for one recipient leaves the same body's other delivery whole, and
 * the last one takes the body with it. */
static void test_blobs_go_with_their_last_message(void **state) {
    struct slice user = SLICE("blobs");
    char id[ULID_BYTES];
    (void)state;
    ulid_create(id);
    assert_int_equal(deliver(user, id, "a@x.test", SLICE("Subject: s\r\n\r\nbody")), 0);
    assert_int_equal(deliver(user, id, "b@x.test", SLICE("Subject: s\r\n\r\nbody")), 0);
    uint32_t inbox = got.folder;
    assert_int_equal(copy(user, inbox, 1, (uint32_t[]){1}, "Archive", false), 0);
    assert_int_equal(got.count, 1);
    assert_int_equal(expunge(user, inbox, 2, (uint32_t[]){1, 2}, false), 0);
    assert_int_equal(got.count, 2);
    run_for(50);
    assert_true(has_blob(id));
    folders(user);
    uint32_t archive = got.first[1];
    assert_int_equal(expunge(user, archive, 1, (uint32_t[]){1}, false), 0);
    assert_true(loses_blob(id));
    assert_true(becomes(0, "EXISTS", "{u:blobs}:x"));
    assert_true(becomes(0, "EXISTS", "{u:blobs}:b"));
    /* Delivered again late: still once, and the reference that this attempt took is released. */
    assert_int_equal(deliver(user, id, "a@x.test", SLICE("Subject: s\r\n\r\nbody")), 0);
    assert_true(got.duplicate);
    assert_true(loses_blob(id));
}

static bool has_refs(const char *id, size_t count) {
    char key[64];
    snprintf(key, sizeof key, "b:{%.26s}", id);
    return becomes(count + 2, "HLEN", key);
}

static void set_quota(struct slice user, uint64_t bytes) {
    got.done = false;
    mailbox_set_quota(ground.redis, user, bytes, on_done, NULL);
    wait_for_answer();
}

static void delete_user(struct slice user) {
    got.done = false;
    mailbox_delete_user(ground.redis, user, on_done, NULL);
    wait_for_answer();
    assert_int_equal(got.error, 0);
}

static void release(const char *id, struct slice ref) {
    got.done = false;
    blob_release(ground.redis, slice_of(id), 1, &ref, on_done, NULL);
    wait_for_answer();
}

/* Two attempts at one delivery are in flight at once: it happens once, and whatever becomes of
 * either of them, the body stays until the message is expunged, and no longer. */
static void test_two_attempts_at_once(void **state) {
    struct slice user = SLICE("attempts"), message = SLICE("Subject: s\r\n\r\nbody");
    char id[ULID_BYTES], text[MAILBOX_REF_MAX];
    (void)state;
    ulid_create(id);
    hold(user, id, "a@x.test", "one", message);
    hold(user, id, "a@x.test", "two", message);
    ask_delivery(user, id, "a@x.test", "one", "", message);
    ask_delivery(user, id, "a@x.test", "two", "", message);
    got.answers = got.duplicates = 0;
    while (got.answers < 2) {
        got.done = false;
        wait_for_answer();
        assert_int_equal(got.error, 0);
        assert_int_equal(got.uid, 1);
    }
    assert_int_equal(got.duplicates, 1);
    run_for(50);
    /* Whoever made the first attempt got no answer and lets go of his reference. */
    release(id, attempt_ref(text, user, "a@x.test", "one"));
    got.done = false;
    mailbox_read(ground.redis, user, got.folder, 1, on_read, NULL);
    wait_for_answer();
    assert_int_equal(got.error, 0);
    assert_string_equal(got.text, "Return-Path: <>\r\nSubject: s\r\n\r\nbody");
    /* Attempts without end hold it by a bounded number of names. */
    for (int i = 0; i < 20; i++) assert_int_equal(deliver(user, id, "a@x.test", message), 0);
    assert_true(has_refs(id, 7)); /* 8 names, and the first one's reference was let go of above */
    assert_int_equal(expunge(user, got.folder, 1, (uint32_t[]){1}, false), 0);
    assert_true(loses_blob(id));
    assert_true(becomes(0, "EXISTS", "{u:attempts}:x"));
}

/* A refusal releases the reference of the attempt that was refused, and no other's. */
static void test_refusals_release_their_own_reference(void **state) {
    struct slice user = SLICE("refused"), message = SLICE("Subject: s\r\n\r\nbody");
    char id[ULID_BYTES];
    (void)state;
    ulid_create(id);
    assert_int_equal(deliver_as(user, id, "a@x.test", "one", message), 0);
    set_quota(user, 50);
    assert_int_equal(got.error, 0);
    assert_int_equal(deliver_as(user, id, "b@x.test", "one", message), STORE_OVER_QUOTA);
    assert_true(has_refs(id, 1));
    stat_user(user);
    assert_int_equal(got.messages, 1);
    /* Delivered before the quota was reached: still so, also when asked again under the same
     * name. */
    assert_int_equal(deliver_as(user, id, "a@x.test", "one", message), 0);
    assert_true(got.duplicate);
    set_quota(user, 0);
    /* All recipients of one user in one call, one of them known already. */
    struct mailbox_recipient rcpts[] = {
        {SLICE("a@x.test"), SLICE("X: a\r\n")}, {SLICE("b@x.test"), SLICE("X: b\r\n")}, {SLICE("c@x.test"), SLICE("")}};
    struct buf listing = {0};
    mailbox_listing_build(message, &listing);
    assert_true(mailbox_listing_is_valid(buf_slice(&listing)));
    assert_false(mailbox_listing_is_valid(slice_head(buf_slice(&listing), listing.n - 1)));
    for (int i = 0; i < 3; i++) hold(user, id, rcpts[i].rcpt.p, "two", message);
    struct mailbox_delivery d = {.id = slice_of(id),
                                 .attempt = SLICE("two"),
                                 .folder = SLICE("Junk"),
                                 .listing = buf_slice(&listing),
                                 .size = message.n,
                                 .count = 3,
                                 .rcpts = rcpts};
    got.done = false;
    mailbox_deliver(ground.redis, user, &d, on_delivered, NULL);
    wait_for_answer();
    assert_int_equal(got.delivered_count, 3);
    assert_true(got.delivered[0].duplicate);
    assert_false(got.delivered[1].duplicate);
    assert_int_equal(got.delivered[1].uid, 1);
    assert_int_equal(got.delivered[2].uid, 2);
    assert_int_equal(got.delivered[2].error, 0);
    buf_free(&listing);
}

/* Junk is the folder with that special use, whatever its name, and is made where there is none. */
static void test_junk(void **state) {
    struct slice user = SLICE("junk");
    char id[ULID_BYTES];
    (void)state;
    folders(user);
    got.done = false;
    mailbox_folder_rename(ground.redis, user, SLICE("Junk"), SLICE("Spam"), on_done, NULL);
    wait_for_answer();
    ulid_create(id);
    hold(user, id, "a@x.test", "one", SLICE("\r\n"));
    ask_delivery(user, id, "a@x.test", "one", "Junk", SLICE("\r\n"));
    wait_for_answer();
    assert_string_equal(got.text, "Spam");
    got.done = false;
    mailbox_folder_delete(ground.redis, user, SLICE("Spam"), on_done, NULL);
    wait_for_answer();
    ulid_create(id);
    hold(user, id, "a@x.test", "one", SLICE("\r\n"));
    ask_delivery(user, id, "a@x.test", "one", "Junk", SLICE("\r\n"));
    wait_for_answer();
    assert_string_equal(got.text, "Junk");
    folders(user);
    assert_non_null(strstr(got.text, "Junk\\Junk"));
}

/* After its deletion a mailbox is never made again: not by a delivery, not by a session that still
 * runs. */
static void test_a_deleted_user_stays_deleted(void **state) {
    struct slice user = SLICE("deleted"), message = SLICE("Subject: s\r\n\r\nbody");
    char first[ULID_BYTES], second[ULID_BYTES];
    (void)state;
    ulid_create(first);
    ulid_create(second);
    assert_int_equal(deliver(user, first, "a@x.test", message), 0);
    delete_user(user);
    assert_true(loses_blob(first));
    assert_int_equal(deliver(user, second, "a@x.test", message), STORE_NOT_FOUND);
    assert_int_equal(deliver(user, first, "a@x.test", message), STORE_NOT_FOUND);
    assert_int_equal(make(user, "Again"), STORE_NOT_FOUND);
    got.done = false;
    mailbox_folders(ground.redis, user, on_folders, NULL);
    wait_for_answer();
    assert_int_equal(got.error, STORE_NOT_FOUND);
    set_quota(user, 100);
    assert_int_equal(got.error, STORE_NOT_FOUND);
    assert_true(loses_blob(first));
    assert_true(loses_blob(second));
    delete_user(user);
    const char *const keys[] = {"{u:deleted}:i", "{u:deleted}:f", "{u:deleted}:b", "{u:deleted}:x",
                                "{u:deleted}:d", "{u:deleted}:o", "{u:deleted}:g"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) assert_int_equal(redis_count("EXISTS", keys[i]), 0);
    assert_int_equal(redis_count("EXISTS", "{u:deleted}:gone"), 1);
    assert_true(redis_count("TTL", "{u:deleted}:gone") > 29 * 86400);
}

static void set_maxmemory(const char *value) {
    struct slice words[] = {SLICE("CONFIG"), SLICE("SET"), SLICE("maxmemory"), slice_of(value)};
    got.done = false;
    redis_command(ground.redis, on_reply, NULL, 4, words);
    wait_for_answer();
    assert_int_equal(got.error, 0);
}

/* With Redis at its maxmemory nothing comes in and nothing is lost, mail is read, and what is
 * expunged or deleted frees everything it held. */
static void test_a_full_store(void **state) {
    struct slice user = SLICE("full"), message = SLICE("Subject: s\r\n\r\nbody");
    enum { COUNT = 50 };
    static char ids[COUNT][ULID_BYTES];
    uint32_t uids[COUNT];
    (void)state;
    for (uint32_t i = 0; i < COUNT; i++) {
        ulid_create(ids[i]);
        assert_int_equal(deliver_as(user, ids[i], "a@x.test", "one", message), 0);
        uids[i] = i + 1;
    }
    uint32_t inbox = got.folder;
    char late[ULID_BYTES];
    ulid_create(late);
    hold(user, late, "a@x.test", "one", message);
    set_maxmemory("1");
    ask_delivery(user, late, "a@x.test", "one", "", message);
    wait_for_answer();
    assert_int_equal(got.error, STORE_FULL);
    /* One that was delivered before under the same name: nobody lets go of what the mailbox
     * holds. */
    ask_delivery(user, ids[0], "a@x.test", "one", "", message);
    wait_for_answer();
    assert_int_equal(got.error, STORE_FULL);
    got.done = false;
    mailbox_append(ground.redis, user, inbox, message, 0, 0, NULL, 1, on_appended, NULL);
    wait_for_answer();
    assert_int_equal(got.error, STORE_FULL);
    assert_int_equal(copy(user, inbox, 1, uids, "Archive", false), STORE_FULL);
    assert_true(loses_blob(late));
    assert_true(has_refs(ids[0], 1));
    got.done = false;
    mailbox_read(ground.redis, user, inbox, 1, on_read, NULL);
    wait_for_answer();
    assert_int_equal(got.error, 0);
    assert_int_equal(sync_folder(user, inbox, 0), 0);
    assert_int_equal(got.count, COUNT);
    assert_int_equal(store(user, inbox, COUNT - 1, uids, MAILBOX_ADD, MAILBOX_DELETED, NULL, 0), 0);
    assert_int_equal(expunge(user, inbox, 0, NULL, true), 0);
    assert_int_equal(got.count, COUNT - 1);
    for (int i = 0; i < COUNT - 1; i++) assert_true(loses_blob(ids[i]));
    assert_true(has_blob(ids[COUNT - 1]));
    assert_true(becomes(0, "EXISTS", "{u:full}:x"));
    delete_user(user);
    assert_true(loses_blob(ids[COUNT - 1]));
    set_maxmemory("0");
}

static void test_flags_and_modseqs(void **state) {
    struct slice user = SLICE("flags");
    char id[ULID_BYTES];
    (void)state;
    for (int i = 0; i < 4; i++) {
        ulid_create(id);
        assert_int_equal(deliver(user, id, "a@x.test", SLICE("\r\n")), 0);
    }
    uint32_t inbox = got.folder;
    uint64_t start = got.modseq;
    assert_int_equal(store(user, inbox, 2, (uint32_t[]){3, 1}, MAILBOX_ADD, MAILBOX_SEEN, "$Work", 0), 0);
    assert_int_equal(got.count, 2);
    assert_int_equal(got.records[0].uid, 1);
    assert_int_equal(got.records[0].flags, MAILBOX_SEEN | 1 << MAILBOX_KEYWORD_SHIFT);
    assert_int_equal(sync_folder(user, inbox, start), 0);
    assert_false(got.full);
    assert_int_equal(got.count, 2);
    assert_int_equal(got.folder_state.unseen, 2);
    assert_int_equal(got.folder_state.keyword_count, 1);
    /* The same again changes nothing. */
    assert_int_equal(store(user, inbox, 1, (uint32_t[]){1}, MAILBOX_ADD, MAILBOX_SEEN, "$WORK", 0), 0);
    assert_int_equal(got.count, 0);
    /* RFC 7162 §3.1.3: changed since is refused, the others are done. */
    assert_int_equal(store(user, inbox, 2, (uint32_t[]){1, 2}, MAILBOX_REPLACE, MAILBOX_DELETED, NULL, start), 0);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.records[0].uid, 2);
    assert_int_equal(got.records[0].flags, MAILBOX_DELETED);
    assert_int_equal(got.other_count, 1);
    assert_int_equal(got.second[0], 1);
    assert_int_equal(store(user, inbox, 1, (uint32_t[]){1}, MAILBOX_REMOVE, MAILBOX_SEEN, "$Work", 0), 0);
    assert_int_equal(got.records[0].flags, 0);
    /* All with \Deleted: one. */
    uint64_t before = got.records[0].modseq;
    assert_int_equal(expunge(user, inbox, 0, NULL, true), 0);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.first[0], 2);
    assert_true(got.modseq > before);
    assert_int_equal(sync_folder(user, inbox, before), 0);
    assert_int_equal(got.count, 0);
    assert_int_equal(got.other_count, 1);
    assert_int_equal(got.second[0], 2);
    /* A modseq that never was: everything. */
    assert_int_equal(sync_folder(user, inbox, before + 1000), 0);
    assert_true(got.full);
    assert_int_equal(got.count, 3);
    /* 56 keywords keep their bits apart. */
    for (int i = 0; i < MAILBOX_KEYWORDS_MAX - 1; i++) {
        char word[16];
        snprintf(word, sizeof word, "k%d", i);
        assert_int_equal(store(user, inbox, 1, (uint32_t[]){1}, MAILBOX_ADD, 0, word, 0), 0);
    }
    assert_true(got.records[0].flags == (UINT64_MAX << (MAILBOX_KEYWORD_SHIFT + 1)));
    assert_int_equal(store(user, inbox, 1, (uint32_t[]){1}, MAILBOX_ADD, 0, "onemore", 0), STORE_LIMIT);
    assert_int_equal(copy(user, inbox, 1, (uint32_t[]){1}, "Archive", true), 0);
    folders(user);
    assert_int_equal(sync_folder(user, got.first[1], 0), 0);
    assert_true(got.records[0].flags == ((UINT64_MAX << MAILBOX_KEYWORD_SHIFT) & (UINT64_MAX >> 1)));
}

/* Keywords that no message has make room for new ones (RFC 9051 §2.3.2), and a reader can tell that
 * their bits stand for others now. */
static void test_keywords_are_collected(void **state) {
    struct slice user = SLICE("collected");
    char id[ULID_BYTES], word[16];
    (void)state;
    for (int i = 0; i < 2; i++) {
        ulid_create(id);
        assert_int_equal(deliver(user, id, "a@x.test", SLICE("\r\n")), 0);
    }
    uint32_t inbox = got.folder;
    for (int i = 0; i < MAILBOX_KEYWORDS_MAX; i++) {
        snprintf(word, sizeof word, "k%d", i);
        assert_int_equal(store(user, inbox, 1, (uint32_t[]){1}, MAILBOX_ADD, 0, word, 0), 0);
    }
    assert_int_equal(got.generation, 0);
    assert_int_equal(store(user, inbox, 1, (uint32_t[]){2}, MAILBOX_ADD, 0, "new", 0), STORE_LIMIT);
    assert_int_equal(store(user, inbox, 1, (uint32_t[]){1}, MAILBOX_REPLACE, 0, "k7", 0), 0);
    assert_int_equal(store(user, inbox, 1, (uint32_t[]){2}, MAILBOX_ADD, 0, "new", 0), 0);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.generation, 1);
    assert_true(got.records[0].flags == 1 << MAILBOX_KEYWORD_SHIFT);
    sync_folder(user, inbox, 0);
    assert_int_equal(got.folder_state.keyword_generation, 1);
    assert_int_equal(got.folder_state.keyword_count, MAILBOX_KEYWORDS_MAX);
    assert_true(got.records[0].flags == 1 << (MAILBOX_KEYWORD_SHIFT + 7));
}

static int call(const char *function, size_t argc, const struct slice argv[]) {
    got.done = false;
    redis_fcall(ground.redis, on_reply, NULL, function, SLICE("{u:cutoff}"), argc, argv);
    wait_for_answer();
    return got.error;
}

/* A COPY whose process was killed after its first step: its copies are removed before the next COPY
 * of many messages, and its own later steps are refused (RFC 9051 §6.4.7). */
static void test_a_copy_that_was_cut_off(void **state) {
    struct slice user = SLICE("cutoff"), name = SLICE("Archive"), op = SLICE("op"), max = SLICE("100");
    static const char records[] = "{u:cutoff}:f:6:m", notes[] = "{u:cutoff}:j";
    char id[ULID_BYTES], folder[16];
    uint32_t uids[150];
    (void)state;
    for (uint32_t i = 0; i < 150; i++) {
        uids[i] = i + 1;
        ulid_create(id);
        assert_int_equal(deliver(user, id, "a@x.test", SLICE("\r\n")), 0);
    }
    uint32_t inbox = got.folder;
    assert_int_equal(copy(user, inbox, 150, uids, "Archive", false), 0);
    assert_int_equal(got.count, 150);
    assert_int_equal(redis_count("EXISTS", notes), 0);
    snprintf(folder, sizeof folder, "%u", inbox);
    struct slice begin[] = {op, max}, some = slice_make((const char *)uids, 100 * sizeof *uids);
    struct slice step[] = {slice_of(folder), some, name, SLICE("0"), op, SLICE("0")};
    assert_int_equal(call("mailbox_copy_begin", 2, begin), 0);
    assert_int_equal(call("mailbox_copy", 6, step), 0);
    assert_int_equal(redis_count("HLEN", records), 250);
    /* Its process may live: another COPY leaves it alone, and the same one is not begun again. */
    assert_int_equal(copy(user, inbox, 150, uids, "Archive", false), 0);
    assert_int_equal(redis_count("HLEN", records), 400);
    assert_int_equal(call("mailbox_copy_begin", 2, begin), STORE_CONFLICT);
    struct slice get[] = {SLICE("HGET"), slice_of(notes), op};
    got.done = false;
    redis_command(ground.redis, on_packed, NULL, 3, get);
    wait_for_answer();
    assert_int_equal(got.count, 16);
    memset(got.text, 0, 4); /* begun in 1970 */
    struct slice set[] = {SLICE("HSET"), slice_of(notes), op, slice_make(got.text, got.count)};
    got.done = false;
    redis_command(ground.redis, on_reply, NULL, 4, set);
    wait_for_answer();
    assert_int_equal(copy(user, inbox, 150, uids, "Archive", false), 0);
    assert_int_equal(redis_count("HLEN", records), 450);
    assert_int_equal(call("mailbox_copy", 6, step), STORE_CONFLICT);
    assert_int_equal(redis_count("HLEN", records), 450);
    assert_int_equal(redis_count("EXISTS", notes), 0);
}

static void test_folders(void **state) {
    struct slice user = SLICE("folders");
    char id[ULID_BYTES];
    (void)state;
    folders(user);
    assert_string_equal(got.text, "INBOX,Archive\\Archive,Drafts\\Drafts,Junk\\Junk,Sent\\Sent,Trash\\Trash");
    assert_int_equal(make(user, "a/b/c"), 0);
    assert_int_equal(make(user, "a/b"), STORE_EXISTS);
    assert_int_equal(make(user, "inbox"), STORE_EXISTS);
    assert_int_equal(make(user, "a//b"), STORE_INVALID);
    assert_int_equal(make(user, "bad\xff"), STORE_INVALID);
    got.done = false;
    mailbox_folder_delete(ground.redis, user, SLICE("a"), on_done, NULL);
    wait_for_answer();
    assert_int_equal(got.error, STORE_CONFLICT);
    got.done = false;
    mailbox_folder_rename(ground.redis, user, SLICE("a/b"), SLICE("z/y"), on_done, NULL);
    wait_for_answer();
    assert_int_equal(got.error, 0);
    got.done = false;
    mailbox_folder_rename(ground.redis, user, SLICE("z"), SLICE("z/y/x"), on_done, NULL);
    wait_for_answer();
    assert_int_equal(got.error, STORE_INVALID);
    folders(user);
    assert_string_equal(got.text,
                        "INBOX,Archive\\Archive,Drafts\\Drafts,Junk\\Junk,Sent\\Sent,Trash\\Trash,a,z,z/y,z/y/c");
    ulid_create(id);
    assert_int_equal(deliver(user, id, "a@x.test", SLICE("\r\n")), 0);
    assert_int_equal(copy(user, got.folder, 1, (uint32_t[]){1}, "a", true), 0);
    assert_int_equal(copy(user, got.folder, 1, (uint32_t[]){1}, "nowhere", true), STORE_NOT_FOUND);
    got.done = false;
    mailbox_folder_delete(ground.redis, user, SLICE("a"), on_done, NULL);
    wait_for_answer();
    assert_int_equal(got.error, 0);
    assert_true(loses_blob(id));
    stat_user(user);
    assert_int_equal(got.messages, 0);
    assert_int_equal(got.bytes, 0);
    assert_true(becomes(0, "EXISTS", "{u:folders}:g"));
}

/* A large folder: read, flagged, moved, emptied in bounded steps. */
static void test_many(void **state) {
    struct slice user = SLICE("many");
    char took[128];
    static uint32_t uids[MANY];
    (void)state;
    deliver_many(user, uids, MANY);
    uint32_t inbox = got.folder;
    int64_t started = clock_monotonic_us();
    assert_int_equal(sync_folder(user, inbox, 0), 0);
    snprintf(took, sizeof took, "first sync of %d: %lld us", MANY, (long long)(clock_monotonic_us() - started));
    print_message("%s\n", took);
    assert_int_equal(got.count, MANY);
    assert_true(got.full);
    for (size_t i = 0; i < MANY; i++) assert_int_equal(got.records[i].uid, i + 1);
    assert_true(clock_monotonic_us() - started < 5 * 1000000);
    uint64_t modseq = got.folder_state.highestmodseq;
    assert_int_equal(store(user, inbox, MANY, uids, MAILBOX_ADD, MAILBOX_DELETED, NULL, 0), 0);
    assert_int_equal(got.count, MANY);
    assert_int_equal(copy(user, inbox, MANY / 2, uids, "Archive", true), 0);
    assert_int_equal(got.count, MANY / 2);
    assert_int_equal(expunge(user, inbox, 0, NULL, true), 0);
    assert_int_equal(got.count, MANY / 2);
    assert_int_equal(sync_folder(user, inbox, modseq), 0);
    assert_int_equal(got.count, 0);
    assert_int_equal(got.folder_state.messages, 0);
    stat_user(user);
    assert_int_equal(got.messages, MANY / 2);
    got.done = false;
    mailbox_delete_user(ground.redis, user, on_done, NULL);
    wait_for_answer();
    assert_int_equal(got.error, 0);
}

/* As many folders as there may be: more than a page of them. */
static void test_many_folders(void **state) {
    struct slice user = SLICE("manyfolders");
    char name[32];
    (void)state;
    folders(user);
    for (int i = 6; i < MAILBOX_FOLDERS_MAX; i++) {
        snprintf(name, sizeof name, "f%04d", i);
        assert_int_equal(make(user, name), 0);
    }
    assert_int_equal(make(user, "one more"), STORE_FULL);
    folders(user);
    assert_int_equal(got.count, MAILBOX_FOLDERS_MAX);
    assert_ptr_equal(
        got.text,
        strstr(got.text, "INBOX,Archive\\Archive,Drafts\\Drafts,Junk\\Junk,Sent\\Sent,Trash\\Trash,f0006,f0007,"));
}

/* A reader who was away while more vanished than fits a page. */
static void test_many_vanished(void **state) {
    struct slice user = SLICE("vanished");
    enum { COUNT = 2500 };
    static uint32_t uids[COUNT];
    (void)state;
    deliver_many(user, uids, COUNT);
    uint32_t inbox = got.folder;
    assert_int_equal(sync_folder(user, inbox, 0), 0);
    uint64_t modseq = got.folder_state.highestmodseq;
    assert_int_equal(expunge(user, inbox, COUNT - 1, uids, false), 0);
    assert_int_equal(store(user, inbox, 1, (uint32_t[]){COUNT}, MAILBOX_ADD, MAILBOX_SEEN, NULL, 0), 0);
    assert_int_equal(sync_folder(user, inbox, modseq), 0);
    assert_false(got.full);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.other_count, COUNT - 1);
    for (size_t i = 0; i < COUNT - 1; i++) assert_int_equal(got.second[i], i + 1);
}

static int start_redis(void **state) {
    char command[256], port[16];
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof any;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)state;
    log_init("test", "error");
    if (bind(fd, (struct sockaddr *)&any, n) || getsockname(fd, (struct sockaddr *)&any, &n)) return -1;
    close(fd);
    ground.port = ntohs(any.sin_port);
    snprintf(port, sizeof port, "%d", ground.port);
    snprintf(ground.directory, sizeof ground.directory, "/tmp/postbus-mailbox-XXXXXX");
    if (!mkdtemp(ground.directory)) return -1;
    ground.server = fork();
    if (ground.server == 0) {
        execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", ground.directory,
               "--save", "", "--appendonly", "no", "--logfile", "redis.log", (char *)NULL);
        _exit(127);
    }
    const char *const libraries[] = {"blob", "mailbox"};
    for (size_t i = 0; i < 2; i++) {
        snprintf(command, sizeof command,
                 "for try in $(seq 100); do redis-cli -p %d -x FUNCTION LOAD REPLACE < libcommon/store/%s.lua "
                 "2>/dev/null | grep -q %s && exit 0; sleep 0.1; "
                 "done; exit 1",
                 ground.port, libraries[i], libraries[i]);
        if (system(command) != 0) return -1;
    }
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", ground.port);
    ground.base = event_base_new();
    ground.redis = redis_create(ground.base, address, NULL, NULL);
    while (!redis_is_ready(ground.redis)) event_base_loop(ground.base, EVLOOP_ONCE);
    return 0;
}

static int stop_redis(void **state) {
    char command[128];
    (void)state;
    redis_destroy(ground.redis);
    event_base_free(ground.base);
    kill(ground.server, SIGTERM);
    waitpid(ground.server, NULL, 0);
    snprintf(command, sizeof command, "rm -rf %s", ground.directory);
    return system(command) == 0 ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_and_read),
        cmocka_unit_test(test_object_ids),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_records_of_version_1),
        cmocka_unit_test(test_texts_too_large_to_keep),
        cmocka_unit_test(test_blobs_go_with_their_last_message),
        cmocka_unit_test(test_two_attempts_at_once),
        cmocka_unit_test(test_refusals_release_their_own_reference),
        cmocka_unit_test(test_junk),
        cmocka_unit_test(test_a_deleted_user_stays_deleted),
        cmocka_unit_test(test_a_full_store),
        cmocka_unit_test(test_flags_and_modseqs),
        cmocka_unit_test(test_keywords_are_collected),
        cmocka_unit_test(test_a_copy_that_was_cut_off),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_many_folders),
        cmocka_unit_test(test_many_vanished),
    };
    return cmocka_run_group_tests(tests, start_redis, stop_redis);
}
