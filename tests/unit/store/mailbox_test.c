/* The mailbox door against a real redis-server with our Functions: what a message is, from its delivery to its end:
 * what the callbacks get is what the store holds. */
#include "tests/unit/store/mailbox_ground.h"

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
    ground_run(50);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_and_read),
        cmocka_unit_test(test_object_ids),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_records_of_version_1),
        cmocka_unit_test(test_texts_too_large_to_keep),
        cmocka_unit_test(test_blobs_go_with_their_last_message),
    };
    return cmocka_run_group_tests(tests, start_redis, ground_stop);
}
