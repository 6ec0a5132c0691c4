/* The queue against a real redis-server: leases have owners, outcomes are recorded whatever
 * happens, and nothing of an entry is left behind. */
#include "tests/unit/store/queue_ground.h"

enum { MANY = 1300 };

static struct envelope *lease_with_texts(int shard, size_t bytes, size_t *count) {
    answered = false;
    queue_lease(ground.redis, shard, 64, bytes, LEASE_MS, "mine", on_entries, NULL);
    ground_wait();
    assert_int_equal(answer, 0);
    *count = leased_count;
    return leased[0];
}

static void commit_text(struct envelope *e, size_t size, bool random) {
    static char text[QUEUE_TEXT_MAX];
    for (size_t i = 0; i < size; i++) text[i] = (char)(random ? rand() : 'x');
    e->size = size;
    assert_int_equal(SAID(queue_commit_text(ground.redis, e, slice_make(text, size), on_answer, NULL)), 0);
}

static void a_lease_brings_texts_as_far_as_there_is_room(void **state) {
    (void)state;
    size_t count;
    struct buf text = {0};
    struct envelope *e = letter("one.test", 1);
    int shard = shard_of(e);
    commit_text(e, 4000, false);
    const struct envelope *got = lease_with_texts(shard, 100000, &count);
    assert_int_equal(count, 1);
    assert_true(got->text_in_queue);
    assert_int_equal(queue_unpack_text(got->packed, (size_t)got->size, &text), 0);
    assert_int_equal(text.n, 4000);
    assert_memory_equal(text.data, "xxxx", 4);
    buf_free(&text);
    e = letter("one.test", 1);
    commit_text(e, 4000, false);
    got = lease_with_texts(shard_of(e), 5, &count); /* no room for it */
    assert_true(got->text_in_queue && got->packed.n == 0);
    e = letter("one.test", 1);
    commit_text(e, 30000, true); /* too large, even compressed, to come along */
    got = lease_with_texts(shard_of(e), 100000, &count);
    assert_true(got->text_in_queue && got->packed.n == 0);
}

static void ids_of_a_moment_fall_into_one_shard(void **state) {
    (void)state;
    struct queue_ids ids = {0};
    char id[ULID_BYTES], last[ULID_BYTES] = "";
    bool seen[QUEUE_SHARDS] = {false};
    size_t shards = 0;
    for (int round = 0; round < 200; round++) {
        queue_id_create(&ids, id);
        int shard = queue_shard_of(slice_of(id));
        if (!seen[shard]) shards++;
        seen[shard] = true;
        for (int i = 0; i < 20; i++) {
            ids.until_us = clock_monotonic_us() + 1000000;
            queue_id_create(&ids, id);
            assert_true(ulid_is_valid(slice_of(id)));
            assert_int_equal(queue_shard_of(slice_of(id)), shard);
            assert_string_not_equal(id, last);
            memcpy(last, id, sizeof last);
        }
        ids.until_us = 0;
    }
    assert_int_equal(shards, QUEUE_SHARDS);
}

static void every_write_of_leased_work_demands_the_token(void **state) {
    (void)state;
    struct envelope *e = commit("one.test", 1);
    struct slice id = slice_of(e->id);
    size_t index = 0;
    assert_int_equal(lease(shard_of(e), LEASE_MS, "mine"), 1);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "other"), 0);
    e->rcpts[0].state = RCPT_SENT;
    assert_int_equal(record(e, "other", 0), STORE_LOST);
    assert_int_equal(SAID(queue_reported(ground.redis, e, "other", 1, &index, on_answer, NULL)), STORE_LOST);
    assert_int_equal(SAID(queue_extend(ground.redis, id, "other", LEASE_MS, on_answer, NULL)), STORE_LOST);
    assert_int_equal(SAID(queue_release(ground.redis, id, "other", on_answer, NULL)), STORE_LOST);
    assert_int_equal(SAID(queue_extend(ground.redis, id, "mine", LEASE_MS, on_answer, NULL)), 0);
    assert_int_equal(record(e, "mine", 0), QUEUE_GONE);
    assert_int_equal(keys_left(), 0);
    /* The answer was lost, and the worker says it again. */
    assert_int_equal(record(e, "mine", 0), QUEUE_GONE);
}

static void a_lease_that_ended_is_taken_over_and_its_worker_learns_it(void **state) {
    (void)state;
    struct envelope *e = commit("one.test", 2);
    assert_int_equal(lease(shard_of(e), 50, "first"), 1);
    /* Ended, but nobody has taken it: what the first worker did still counts. */
    ground_run(80);
    e->rcpts[0].state = RCPT_SENT;
    assert_int_equal(record(e, "first", 0), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "second"), 1);
    assert_int_equal(leased[0]->rcpts[0].state, RCPT_SENT);
    assert_int_equal(leased[0]->rcpts[1].state, RCPT_DUE);
    e->rcpts[1].state = RCPT_SENT;
    assert_int_equal(record(e, "first", 1), STORE_LOST);
    assert_int_equal(SAID(queue_extend(ground.redis, slice_of(e->id), "first", LEASE_MS, on_answer, NULL)), STORE_LOST);
    assert_int_equal(record(e, "second", 1), QUEUE_GONE);
}

static void a_released_entry_is_due_at_its_earliest_time(void **state) {
    (void)state;
    struct envelope *e = commit("one.test", 2);
    struct slice id = slice_of(e->id);
    size_t both[] = {0, 1};
    int64_t soon = clock_wall_ms() + 200;
    assert_int_equal(lease(shard_of(e), LEASE_MS, "a"), 1);
    e->rcpts[0] = (struct envelope_rcpt){.address = e->rcpts[0].address,
                                         .state = RCPT_DEFERRED,
                                         .attempts = 1,
                                         .next_ms = soon + 100000,
                                         .code = 451,
                                         .enhanced = SLICE("4.3.0"),
                                         .reply = SLICE("later, \"please\"\xff"),
                                         .host = SLICE("mx.one.test")};
    e->rcpts[1].state = RCPT_DEFERRED;
    e->rcpts[1].next_ms = soon;
    assert_int_equal(SAID(queue_record(ground.redis, e, "a", 2, both, on_answer, NULL)), 0);
    assert_int_equal(SAID(queue_release(ground.redis, id, "a", on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "b"), 0);
    ground_run(300);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "b"), 1);
    const struct envelope_rcpt *r = leased[0]->rcpts;
    assert_int_equal(r[0].state, RCPT_DEFERRED);
    assert_int_equal(r[0].attempts, 1);
    assert_true(r[0].next_ms == soon + 100000 && r[1].next_ms == soon);
    assert_int_equal(r[0].code, 451);
    assert_string_equal(r[0].reply.p, "later, \"please\"\xff");
    assert_string_equal(r[0].host.p, "mx.one.test");
    /* A recipient that was never tried is due at once. */
    e = commit("one.test", 2);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "c"), 1);
    e->rcpts[0].state = RCPT_DEFERRED;
    e->rcpts[0].next_ms = soon + 100000;
    assert_int_equal(record(e, "c", 0), 0);
    assert_int_equal(SAID(queue_release(ground.redis, slice_of(e->id), "c", on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "d"), 1);
}

static void any_number_of_recipients_is_recorded(void **state) {
    (void)state;
    size_t indexes[ENVELOPE_RCPTS_MAX];
    for (size_t i = 0; i < ENVELOPE_RCPTS_MAX; i++) indexes[i] = i;
    for (size_t round = 0; round < 2; round++) { /* 1,300 recipients at one domain: 1,000 and 300 */
        size_t n = round ? MANY - ENVELOPE_RCPTS_MAX : ENVELOPE_RCPTS_MAX;
        struct envelope *e = commit("many.test", n);
        assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
        assert_int_equal(leased[0]->rcpt_count, n);
        for (size_t i = 0; i < n; i++) {
            e->rcpts[i].state = i % 2 ? RCPT_SENT : RCPT_DEFERRED;
            e->rcpts[i].next_ms = 1000 + (int64_t)i;
            e->rcpts[i].reply = SLICE("452 4.5.3 Too many recipients, and as long a text as servers like to send");
        }
        assert_int_equal(SAID(queue_record(ground.redis, e, "t", n, indexes, on_answer, NULL)), 0);
        assert_int_equal(SAID(queue_release(ground.redis, slice_of(e->id), "t", on_answer, NULL)), 0);
        assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(leased[0]->rcpts[i].state, i % 2 ? RCPT_SENT : RCPT_DEFERRED);
            assert_int_equal(leased[0]->rcpts[i].next_ms, 1000 + (int)i);
            e->rcpts[i].state = RCPT_SENT;
        }
        assert_int_equal(SAID(queue_record(ground.redis, e, "t", n, indexes, on_answer, NULL)), QUEUE_GONE);
        assert_int_equal(keys_left(), 0);
    }
}

/* No Function stops Redis for long, whatever the entry looks like. */
static void the_largest_entries_take_milliseconds(void **state) {
    (void)state;
    size_t indexes[ENVELOPE_RCPTS_MAX];
    struct envelope *e = letter("x.test", ENVELOPE_RCPTS_MAX);
    static char addresses[ENVELOPE_RCPTS_MAX][64];
    for (size_t i = 0; i < ENVELOPE_RCPTS_MAX; i++) { /* each at a domain of its own */
        indexes[i] = i;
        snprintf(addresses[i], sizeof addresses[i], "someone@domain-%zu.test", i);
        e->rcpts[i].address = slice_of(addresses[i]);
        e->rcpts[i].state = RCPT_DEFERRED;
        e->rcpts[i].next_ms = 5;
    }
    ground_redis("SLOWLOG RESET");
    ground_redis("CONFIG SET slowlog-log-slower-than 100000");
    assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    assert_int_equal(SAID(queue_record(ground.redis, e, "t", e->rcpt_count, indexes, on_answer, NULL)), 0);
    assert_int_equal(SAID(queue_release(ground.redis, slice_of(e->id), "t", on_answer, NULL)), 0);
    assert_int_equal(SAID(queue_retry(ground.redis, slice_of(e->id), on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    for (size_t i = 0; i < ENVELOPE_RCPTS_MAX; i++) e->rcpts[i].state = RCPT_SENT;
    assert_int_equal(SAID(queue_record(ground.redis, e, "t", e->rcpt_count, indexes, on_answer, NULL)), QUEUE_GONE);
    assert_string_equal(ground_redis("SLOWLOG LEN"), "0");
    assert_int_equal(keys_left(), 0);
}

/* An answer is cut where entries are large, and goes on with the next. */
static void a_lease_answer_is_bounded(void **state) {
    (void)state;
    int shard = -1;
    size_t total = 0, answers = 0;
    for (int i = 0; i < 10; i++) {
        struct envelope *e = letter("a-domain-with-rather-a-long-name-of-its-own.test", ENVELOPE_RCPTS_MAX);
        while (shard >= 0 && shard_of(e) != shard) ulid_create(e->id);
        shard = shard_of(e);
        assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), 0);
    }
    for (size_t n; (n = lease(shard, LEASE_MS, "t")) > 0; total += n, answers++) assert_true(n < 10);
    assert_int_equal(total, 10);
    assert_true(answers > 1);
}

static void outcomes_are_recorded_and_entries_deleted_at_maxmemory(void **state) {
    (void)state;
    struct envelope *e = commit("one.test", 2);
    size_t first = 0;
    ground_fill();
    struct envelope refused = *e;
    ulid_create(refused.id);
    assert_int_equal(SAID(queue_commit(ground.redis, &refused, on_answer, NULL)), STORE_FULL);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    assert_int_equal(SAID(queue_extend(ground.redis, slice_of(e->id), "t", LEASE_MS, on_answer, NULL)), 0);
    e->rcpts[0].state = RCPT_BOUNCED;
    e->rcpts[0].owed = REPORT_FAILED;
    assert_int_equal(record(e, "t", 0), 0);
    assert_int_equal(SAID(queue_reported(ground.redis, e, "t", 1, &first, on_answer, NULL)), 0);
    assert_int_equal(SAID(queue_release(ground.redis, slice_of(e->id), "t", on_answer, NULL)), 0);
    assert_int_equal(SAID(queue_hold(ground.redis, slice_of(e->id), true, on_answer, NULL)), 0);
    assert_int_equal(SAID(queue_hold(ground.redis, slice_of(e->id), false, on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    e->rcpts[1].state = RCPT_SENT;
    assert_int_equal(record(e, "t", 1), QUEUE_GONE);
    ground_make_room();
    e = commit("one.test", 1);
    ground_fill();
    assert_int_equal(SAID(queue_delete(ground.redis, slice_of(e->id), on_entries, NULL)), 0);
    assert_int_equal(keys_left(), 0);
}

static void what_is_committed_twice_is_one_message(void **state) {
    (void)state;
    struct envelope *e = commit("one.test", 1);
    assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "u"), 0);
    e->rcpts[0].state = RCPT_SENT;
    assert_int_equal(record(e, "t", 0), QUEUE_GONE);
    assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), QUEUE_GONE);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "u"), 0);
    assert_int_equal(keys_left(), 0);
}

static void a_final_state_stays_and_a_report_is_owed_until_it_was_sent(void **state) {
    (void)state;
    struct envelope *e = commit("one.test", 1);
    size_t index = 0;
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    e->rcpts[0].state = RCPT_BOUNCED;
    e->rcpts[0].owed = REPORT_FAILED;
    assert_int_equal(record(e, "t", 0), 0); /* nothing to try, but a report to send */
    e->rcpts[0].state = RCPT_DEFERRED;
    assert_int_equal(record(e, "t", 0), 0);
    assert_int_equal(SAID(queue_release(ground.redis, slice_of(e->id), "t", on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "u"), 1);
    assert_int_equal(leased[0]->rcpts[0].state, RCPT_BOUNCED);
    assert_int_equal(leased[0]->rcpts[0].owed, REPORT_FAILED);
    /* A late word about a report of another kind does not settle this one. */
    leased[0]->rcpts[0].owed = REPORT_DELAYED;
    assert_int_equal(SAID(queue_reported(ground.redis, leased[0], "u", 1, &index, on_answer, NULL)), 0);
    leased[0]->rcpts[0].owed = REPORT_FAILED;
    assert_int_equal(SAID(queue_reported(ground.redis, leased[0], "u", 1, &index, on_answer, NULL)), QUEUE_GONE);
    assert_int_equal(keys_left(), 0);
    /* An entry that owes a report is due at once, however long its recipients have to wait. */
    e = commit("one.test", 2);
    size_t both[] = {0, 1};
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    e->rcpts[0] = (struct envelope_rcpt){.address = e->rcpts[0].address, .state = RCPT_BOUNCED, .owed = REPORT_FAILED};
    e->rcpts[1].state = RCPT_DEFERRED;
    e->rcpts[1].next_ms = clock_wall_ms() + 100000;
    assert_int_equal(SAID(queue_record(ground.redis, e, "t", 2, both, on_answer, NULL)), 0);
    assert_int_equal(SAID(queue_release(ground.redis, slice_of(e->id), "t", on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "u"), 1);
    assert_int_equal(SAID(queue_reported(ground.redis, leased[0], "u", 1, &index, on_answer, NULL)), 0);
    assert_int_equal(SAID(queue_release(ground.redis, slice_of(e->id), "u", on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "v"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_write_of_leased_work_demands_the_token),
        TEST(a_lease_brings_texts_as_far_as_there_is_room),
        TEST(ids_of_a_moment_fall_into_one_shard),
        TEST(a_lease_that_ended_is_taken_over_and_its_worker_learns_it),
        TEST(a_released_entry_is_due_at_its_earliest_time),
        TEST(any_number_of_recipients_is_recorded),
        TEST(the_largest_entries_take_milliseconds),
        TEST(a_lease_answer_is_bounded),
        TEST(outcomes_are_recorded_and_entries_deleted_at_maxmemory),
        TEST(what_is_committed_twice_is_one_message),
        TEST(a_final_state_stays_and_a_report_is_owed_until_it_was_sent),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
