/* What the tests of the queue share: entries, leases, and a queue that is empty before each test. */
#ifndef POSTBUS_TESTS_STORE_QUEUE_GROUND_H
#define POSTBUS_TESTS_STORE_QUEUE_GROUND_H

#include "tests/unit/store/ground.h"

#include "libcommon/store/queue.h"

enum { LEASE_MS = 60000 };

static struct envelope *leased[QUEUE_LEASE_MAX];
static size_t leased_count;

static inline void on_entries(void *ctx, int error, size_t count, struct envelope *const entries[]) {
    for (size_t i = 0; i < leased_count; i++) envelope_destroy(leased[i]);
    for (size_t i = 0; i < count; i++) leased[i] = entries[i];
    leased_count = count;
    on_answer(ctx, error);
}

static inline size_t lease(int shard, int64_t ms, const char *token) {
    answered = false;
    queue_lease(ground.redis, shard, 64, 0, ms, token, on_entries, NULL);
    ground_wait();
    assert_int_equal(answer, 0);
    return leased_count;
}

/* Makes a call whose callback is on_answer, and answers what it said. */
#define SAID(call) (answered = false, call, ground_wait(), answer)

/* An entry whose recipients are r0@<domain>, r1@<domain>, … */
static inline struct envelope *letter(const char *domain, size_t rcpts) {
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

static inline int shard_of(const struct envelope *e) { return queue_shard_of(slice_of(e->id)); }

static inline struct envelope *commit(const char *domain, size_t rcpts) {
    struct envelope *e = letter(domain, rcpts);
    assert_int_equal(SAID(queue_commit(ground.redis, e, on_answer, NULL)), 0);
    return e;
}

/* Every key that is left but the memo of ids worked off. */
static inline int keys_left(void) {
    int all = atoi(ground_redis("KEYS {q:*"));
    return all - atoi(ground_redis("KEYS {q:*:m:*"));
}

static inline int record(const struct envelope *e, const char *token, size_t index) {
    return SAID(queue_record(ground.redis, e, token, 1, &index, on_answer, NULL));
}

static inline int empty(void **state) {
    (void)state;
    ground_make_room();
    ground_redis("FLUSHALL");
    for (size_t i = 0; i < leased_count; i++) envelope_destroy(leased[i]);
    leased_count = 0;
    return 0;
}

static inline int start(void **state) {
    static const char *const libraries[] = {"queue"};
    (void)state;
    return ground_start(1, libraries);
}

static inline int stop(void **state) {
    empty(state);
    return ground_stop(state);
}

#define TEST(name) cmocka_unit_test_setup(name, empty)

#endif
