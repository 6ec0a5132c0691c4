/* The mailbox door: deliveries that are attempted twice, refused, or meet a deleted user or a full store. */
#include "tests/unit/store/mailbox_ground.h"

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
    ground_run(50);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_attempts_at_once),
        cmocka_unit_test(test_refusals_release_their_own_reference),
        cmocka_unit_test(test_junk),
        cmocka_unit_test(test_a_deleted_user_stays_deleted),
        cmocka_unit_test(test_a_full_store),
    };
    return cmocka_run_group_tests(tests, start_redis, ground_stop);
}
