/* The mailbox door: flags and modseqs, copies and moves, folders, and many of each. */
#include "tests/unit/store/mailbox_ground.h"

static void on_packed(void *ctx, const redisReply *reply) {
    (void)ctx;
    struct slice s = redis_reply_slice(reply);
    got.count = s.n < sizeof got.text ? s.n : 0;
    memcpy(got.text, s.p, got.count);
    say(redis_reply_error(reply));
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags_and_modseqs),
        cmocka_unit_test(test_keywords_are_collected),
        cmocka_unit_test(test_a_copy_that_was_cut_off),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_many_folders),
        cmocka_unit_test(test_many_vanished),
    };
    return cmocka_run_group_tests(tests, start_redis, ground_stop);
}
