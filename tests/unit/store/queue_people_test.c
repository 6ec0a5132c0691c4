/* What people do with the queue's entries, against a real redis-server: list, hold, retry, delete;
 * damaged ones, urgent ones, those of a domain. */
#include "tests/unit/store/queue_ground.h"

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
    char entry[256];
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

static void an_entry_may_begin_held(void **state) {
    (void)state;
    struct envelope *e = letter("one.test", 1);
    struct slice id = slice_of(e->id);
    e->hold = SLICE("someone must look at it");
    assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 0);
    assert_int_equal(list(shard_of(e), QUEUE_HELD, "one.test"), 1);
    assert_true(first_view.held && first_view.due_ms == 0);
    assert_int_equal(SAID(queue_hold(ground.redis, id, false, on_answer, NULL)), 0);
    /* a late second commit does not hold it again */
    assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), 0);
    assert_int_equal(list(shard_of(e), QUEUE_HELD, ""), 0);
    assert_int_equal(lease(shard_of(e), LEASE_MS, "t"), 1);
    assert_true(slice_is(leased[0]->hold, "someone must look at it"));
    e->rcpts[0].state = RCPT_SENT;
    assert_int_equal(record(e, "t", 0), QUEUE_GONE);
    assert_int_equal(keys_left(), 0);
    assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), QUEUE_GONE);
    assert_int_equal(keys_left(), 0);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_deletion_takes_the_lease_away),
        TEST(a_damaged_entry_goes_to_the_dead_letters),
        TEST(a_damaged_state_is_a_damaged_entry),
        TEST(a_held_entry_waits_until_it_is_let_go),
        TEST(an_entry_may_begin_held),
        TEST(a_retry_reaches_an_entry_that_is_in_work),
        TEST(entries_are_found_and_retried_by_domain),
        TEST(the_more_urgent_are_taken_first),
        TEST(the_janitor_learns_which_entries_there_are),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
