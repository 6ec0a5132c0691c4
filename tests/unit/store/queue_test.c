/* The queue against a real redis-server: leases have owners, outcomes are recorded whatever
 * happens, and nothing of an entry is left behind. */
#include "tests/unit/store/ground.h"

#include "libcommon/store/queue.h"

enum { LEASE_MS = 60000, MANY = 1300 };

static struct envelope *leased[QUEUE_LEASE_MAX];
static size_t leased_count;

static void on_entries(void *ctx, int error, size_t count, struct envelope *const entries[]) {
    for (size_t i = 0; i < leased_count; i++) envelope_destroy(leased[i]);
    for (size_t i = 0; i < count; i++) leased[i] = entries[i];
    leased_count = count;
    on_answer(ctx, error);
}

static size_t lease(int shard, int64_t ms, const char *token) {
    answered = false;
    queue_lease(ground.redis, shard, 64, 0, ms, token, on_entries, NULL);
    ground_wait();
    assert_int_equal(answer, 0);
    return leased_count;
}

/* Makes a call whose callback is on_answer, and answers what it said. */
#define SAID(call) (answered = false, call, ground_wait(), answer)

/* An entry whose recipients are r0@<domain>, r1@<domain>, … */
static struct envelope *letter(const char *domain, size_t rcpts) {
    static struct envelope e;
    static struct envelope_rcpt all[ENVELOPE_RCPTS_MAX];
    static char addresses[ENVELOPE_RCPTS_MAX][64];
    memset(all, 0, sizeof all);
    e = (struct envelope){
        .from = SLICE("alice@alpha.test"), .origin = ORIGIN_SUBMISSION, .size = 100, .rcpt_count = rcpts, .rcpts = all};
    ulid_create(e.id);
    for (size_t i = 0; i < rcpts; i++) {
        snprintf(addresses[i], sizeof addresses[i], "r%zu@%s", i, domain);
        all[i].address = slice_of(addresses[i]);
    }
    return &e;
}

static int shard_of(const struct envelope *e) { return queue_shard_of(slice_of(e->id)); }

static struct envelope *commit(const char *domain, size_t rcpts) {
    struct envelope *e = letter(domain, rcpts);
    assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), 0);
    return e;
}

/* Every key that is left but the memo of ids worked off. */
static int keys_left(void) {
    int all = atoi(ground_redis("KEYS {q:*"));
    return all - atoi(ground_redis("KEYS {q:*:m:*"));
}

static int record(const struct envelope *e, const char *token, size_t index) {
    return SAID(queue_record(ground.redis, e, token, 1, &index, on_answer, NULL));
}

static int empty(void **state) {
    (void)state;
    ground_make_room();
    ground_redis("FLUSHALL");
    for (size_t i = 0; i < leased_count; i++) envelope_destroy(leased[i]);
    leased_count = 0;
    return 0;
}

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

static void a_deletion_takes_the_lease_away(void **state) {
    (void)state;
    struct envelope *e = commit("one.test", 1);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    assert_int_equal(SAID(queue_delete(ground.redis, slice_of(e->id), on_entries, NULL)), 0);
    assert_int_equal(leased_count, 1);
    assert_string_equal(leased[0]->id, e->id);
    assert_string_equal(leased[0]->rcpts[0].address.p, "r0@one.test");
    assert_int_equal(SAID(queue_extend(ground.redis, slice_of(e->id), "t", LEASE_MS, on_answer, NULL)), STORE_LOST);
    e->rcpts[0].state = RCPT_SENT;
    assert_int_equal(record(e, "t", 0), STORE_LOST);
    assert_int_equal(SAID(queue_delete(ground.redis, slice_of(e->id), on_entries, NULL)), STORE_NOT_FOUND);
    assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), QUEUE_GONE);
    assert_int_equal(keys_left(), 0);
}

static long long stat_entries, stat_held, stat_dead, stat_earliest;
static void on_stat(void *ctx, int error, long long entries, long long held, long long dead, long long earliest) {
    stat_entries = entries;
    stat_held = held;
    stat_dead = dead;
    stat_earliest = earliest;
    on_answer(ctx, error);
}

static size_t listed;
static struct queue_view first_view;
static char first_id[ULID_BYTES];
static size_t first_rcpts;
static void on_list(void *ctx, int error, size_t count, const struct queue_view views[]) {
    listed = count;
    if (count) {
        first_view = views[0];
        first_rcpts = views[0].envelope->rcpt_count;
        snprintf(first_id, sizeof first_id, "%s", views[0].envelope->id);
    }
    on_answer(ctx, error);
}

static size_t list(int shard, enum queue_index which, const char *domain) {
    assert_int_equal(SAID(queue_list(ground.redis, shard, which, slice_of(domain), 0, 100, on_list, NULL)), 0);
    return listed;
}

static void a_damaged_entry_goes_to_the_dead_letters(void **state) {
    (void)state;
    struct envelope *e = commit("one.test", 1);
    char entry[64];
    snprintf(entry, sizeof entry, "{q:%d}:e:%s", shard_of(e), e->id);
    ground_redis("HSET %s env {\"from\":7}", entry);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    assert_int_equal(leased[0]->rcpt_count, 0);
    assert_string_equal(leased[0]->id, e->id);
    assert_int_equal(SAID(queue_stat(ground.redis, shard_of(e), on_stat, NULL)), 0);
    assert_true(stat_entries == 1 && stat_held == 0 && stat_dead == 1 && stat_earliest == 0);
    assert_int_equal(list(shard_of(e), QUEUE_DEAD, ""), 1);
    assert_string_equal(first_id, e->id);
    assert_int_equal(first_rcpts, 0);
    assert_int_equal(list(shard_of(e), QUEUE_BY_DUE, ""), 0);
    assert_int_equal(list(shard_of(e), QUEUE_BY_DUE, "one.test"), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 0);
    assert_int_equal(SAID(queue_extend(ground.redis, slice_of(e->id), "t", LEASE_MS, on_answer, NULL)), STORE_LOST);
    /* A retry, after somebody has looked at it, makes it ordinary again. */
    assert_int_equal(SAID(queue_retry(ground.redis, slice_of(e->id), on_answer, NULL)), 0);
    assert_int_equal(list(shard_of(e), QUEUE_BY_DUE, "one.test"), 1);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    assert_int_equal(SAID(queue_delete(ground.redis, slice_of(e->id), on_entries, NULL)), 0);
    assert_int_equal(keys_left(), 0);
}

static void a_damaged_state_is_a_damaged_entry(void **state) {
    (void)state;
    struct envelope *e = commit("one.test", 1);
    ground_redis("HSET {q:%d}:e:%s s:0 {\"state\":\"lost\"}", shard_of(e), e->id);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    assert_int_equal(leased[0]->rcpt_count, 0);
    assert_int_equal(list(shard_of(e), QUEUE_DEAD, ""), 1);
}

static void a_held_entry_waits_until_it_is_let_go(void **state) {
    (void)state;
    struct envelope *e = commit("one.test", 1);
    struct slice id = slice_of(e->id);
    assert_int_equal(SAID(queue_hold(ground.redis, id, true, on_answer, NULL)), 0);
    assert_int_equal(SAID(queue_hold(ground.redis, id, true, on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 0);
    assert_int_equal(SAID(queue_retry(ground.redis, id, on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 0);
    assert_int_equal(SAID(queue_stat(ground.redis, shard_of(e), on_stat, NULL)), 0);
    assert_true(stat_entries == 1 && stat_held == 1 && stat_dead == 0 && stat_earliest == 0);
    assert_int_equal(list(shard_of(e), QUEUE_HELD, "one.test"), 1);
    assert_true(first_view.held && !first_view.leased && first_view.due_ms == 0);
    assert_int_equal(list(shard_of(e), QUEUE_HELD, "other.test"), 0);
    assert_int_equal(SAID(queue_hold(ground.redis, id, false, on_answer, NULL)), 0);
    /* While it is leased: the work goes on, and the entry is not taken again. */
    assert_int_equal(lease(shard_of(e), 50, "t"), 1);
    assert_int_equal(SAID(queue_hold(ground.redis, id, true, on_answer, NULL)), 0);
    assert_int_equal(SAID(queue_extend(ground.redis, id, "t", 50, on_answer, NULL)), 0);
    assert_int_equal(list(shard_of(e), QUEUE_BY_DUE, ""), 1);
    assert_true(first_view.held && first_view.leased);
    ground_run(100);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "u"), 0);
    assert_int_equal(SAID(queue_hold(ground.redis, id, false, on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "u"), 1);
    assert_int_equal(SAID(queue_hold(ground.redis, SLICE("01ARZ3NDEKTSV4RRFFQ69G5FAV"), true, on_answer, NULL)),
                     STORE_NOT_FOUND);
}

static void a_retry_reaches_an_entry_that_is_in_work(void **state) {
    (void)state;
    struct envelope *e = commit("one.test", 1);
    struct slice id = slice_of(e->id);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    assert_int_equal(SAID(queue_retry(ground.redis, id, on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "u"), 0);
    e->rcpts[0].state = RCPT_DEFERRED;
    e->rcpts[0].next_ms = clock_wall_ms() + 100000;
    assert_int_equal(record(e, "t", 0), 0);
    assert_int_equal(SAID(queue_release(ground.redis, id, "t", on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "u"), 1);
    assert_int_equal(leased[0]->rcpts[0].next_ms, 0);
    assert_int_equal(SAID(queue_release(ground.redis, id, "u", on_answer, NULL)), 0);
    assert_int_equal(SAID(queue_retry(ground.redis, id, on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "v"), 1);
}

static size_t domain_count;
static char domain_text[256];
static void on_domains(void *ctx, int error, size_t count, const struct slice domains[], const long long entries[]) {
    domain_count = count;
    size_t n = 0;
    domain_text[0] = 0;
    for (size_t i = 0; i < count && i < 4; i++)
        n += (size_t)snprintf(domain_text + n, sizeof domain_text - n, "%.*s=%lld ", SLICE_FMT(domains[i]), entries[i]);
    on_answer(ctx, error);
}

static void entries_are_found_and_retried_by_domain(void **state) {
    (void)state;
    struct envelope *e;
    int shard = -1;
    char id[ULID_BYTES] = "";
    for (int i = 0; i < 250; i++) { /* more than a page, all in one shard */
        do e = letter(i % 5 ? "slow.test" : "Other.Test", 2);
        while (shard >= 0 && shard_of(e) != shard);
        shard = shard_of(e);
        assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), 0);
        memcpy(id, e->id, sizeof id);
    }
    assert_int_equal(SAID(queue_domains(ground.redis, shard, 10, on_domains, NULL)), 0);
    assert_string_equal(domain_text, "slow.test=200 other.test=50 ");
    for (int left = 250; left > 0; left -= (int)leased_count) {
        assert_true(lease(shard, LEASE_MS, "t") > 0);
        for (size_t i = 0; i < leased_count; i++) {
            size_t both[] = {0, 1};
            struct envelope *l = leased[i];
            l->rcpts[0].state = l->rcpts[1].state = RCPT_DEFERRED;
            l->rcpts[0].next_ms = l->rcpts[1].next_ms = clock_wall_ms() + 100000;
            assert_int_equal(SAID(queue_record(ground.redis, l, "t", 2, both, on_answer, NULL)), 0);
            assert_int_equal(SAID(queue_release(ground.redis, slice_of(l->id), "t", on_answer, NULL)), 0);
        }
    }
    assert_int_equal(lease(shard, LEASE_MS, "t"), 0);
    assert_int_equal(list(shard, QUEUE_BY_DUE, "SLOW.test"), 100);
    assert_int_equal(SAID(queue_retry_domain(ground.redis, shard, SLICE("Slow.TEST"), on_answer, NULL)), 200);
    size_t due = 0;
    for (size_t n; (n = lease(shard, LEASE_MS, "t")) > 0; due += n)
        for (size_t i = 0; i < n; i++) assert_int_equal(leased[i]->rcpts[1].next_ms, 0);
    assert_int_equal(due, 200);
    assert_int_equal(SAID(queue_retry_domain(ground.redis, shard, SLICE("nobody.test"), on_answer, NULL)), 0);
    /* A domain with nothing open left is not in the index. */
    e = letter("a.test", 2);
    static const struct slice apart = {"r1@b.test", 9};
    e->rcpts[1].address = apart;
    do ulid_create(e->id);
    while (shard_of(e) == shard);
    assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    e->rcpts[0].state = RCPT_SENT;
    assert_int_equal(record(e, "t", 0), 0);
    assert_int_equal(SAID(queue_domains(ground.redis, shard_of(e), 10, on_domains, NULL)), 0);
    assert_string_equal(domain_text, "b.test=1 ");
}

static void the_more_urgent_are_taken_first(void **state) {
    (void)state;
    char ids[12][ULID_BYTES];
    int shard = -1;
    for (int i = 0; i < 12; i++) {
        struct envelope *e;
        do e = letter("one.test", 1);
        while (shard >= 0 && shard_of(e) != shard);
        shard = shard_of(e);
        e->priority = i == 11 ? 5 : i == 0 ? -3 : 0;
        assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), 0);
        memcpy(ids[i], e->id, ULID_BYTES);
        ground_run(3); /* entries of one millisecond have no order */
    }
    assert_int_equal(SAID(queue_set_priority(ground.redis, slice_of(ids[10]), 9, on_answer, NULL)), 0);
    assert_int_equal(SAID(queue_set_priority(ground.redis, slice_of(ids[1]), -9, on_answer, NULL)), 0);
    assert_int_equal(SAID(queue_set_priority(ground.redis, slice_of(ids[1]), 0, on_answer, NULL)), 0);
    assert_int_equal(lease(shard, LEASE_MS, "t"), 12);
    assert_string_equal(leased[0]->id, ids[10]);
    assert_int_equal(leased[0]->priority, 9);
    assert_string_equal(leased[1]->id, ids[11]);
    assert_string_equal(leased[2]->id, ids[1]);
    assert_string_equal(leased[11]->id, ids[0]);
    for (size_t i = 0; i < 12; i++) {
        leased[i]->rcpts[0].state = RCPT_SENT;
        assert_int_equal(record(leased[i], "t", 0), QUEUE_GONE);
    }
    assert_int_equal(keys_left(), 0);
}

static bool found_ids[3];
static void on_has(void *ctx, int error, size_t count, const bool found[]) {
    assert_int_equal(count, 3);
    memcpy(found_ids, found, sizeof found_ids);
    on_answer(ctx, error);
}

static void the_janitor_learns_which_entries_there_are(void **state) {
    (void)state;
    struct envelope *e = commit("one.test", 1);
    struct slice ids[] = {SLICE("01ARZ3NDEKTSV4RRFFQ69G5FAV"), slice_of(e->id), SLICE("")};
    assert_int_equal(SAID(queue_has(ground.redis, shard_of(e), 3, ids, on_has, NULL)), 0);
    assert_true(!found_ids[0] && found_ids[1] && !found_ids[2]);
    assert_int_equal(SAID(queue_get(ground.redis, ids[0], on_entries, NULL)), STORE_NOT_FOUND);
    assert_int_equal(SAID(queue_get(ground.redis, ids[1], on_entries, NULL)), 0);
    assert_int_equal(leased_count, 1);
}

static int start(void **state) {
    static const char *const libraries[] = {"queue"};
    (void)state;
    return ground_start(1, libraries);
}

static int stop(void **state) {
    empty(state);
    return ground_stop(state);
}

#define TEST(name) cmocka_unit_test_setup(name, empty)

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
        TEST(a_deletion_takes_the_lease_away),
        TEST(a_damaged_entry_goes_to_the_dead_letters),
        TEST(a_damaged_state_is_a_damaged_entry),
        TEST(a_held_entry_waits_until_it_is_let_go),
        TEST(a_retry_reaches_an_entry_that_is_in_work),
        TEST(entries_are_found_and_retried_by_domain),
        TEST(the_more_urgent_are_taken_first),
        TEST(the_janitor_learns_which_entries_there_are),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
