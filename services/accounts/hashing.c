#include "services/accounts/hashing.h"

#include <pthread.h>
#include <unistd.h>

#include "libcommon/base/clock.h"
#include "services/accounts/accounts.h"

static struct metric waiting = METRIC_GAUGE("postbus_accounts_hashes_waiting", "Logins that wait for a core");
static struct metric hashes = METRIC_COUNTER("postbus_accounts_hashes_total", "Passwords that were hashed for a login");
static struct metric dropped = METRIC_COUNTER(
    "postbus_accounts_hashes_dropped_total", "Logins whose password was not hashed, because the asker waits no longer");

static struct {
    pthread_mutex_t lock; /* guards the rest */
    struct fair_queue queue;
    long free_threads;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .queue = {.max = HASH_QUEUE_MAX}, .free_threads = 1};

void hashing_configure(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    pool.free_threads = cores < 1 ? 1 : cores;
}

static void run(void *job);

static void done(void *job) {
    struct hashing *h = job;
    h->done(h, h->late);
}

/* With the lock held. */
static void start_next(void) {
    struct hashing *h = pool.free_threads > 0 ? (struct hashing *)fair_queue_take(&pool.queue) : NULL;
    if (!h) return;
    pool.free_threads--;
    metric_add(&waiting, -1);
    service_offload(h->worker, run, done, h);
}

static void run(void *job) { /* on a pool thread */
    struct hashing *h = job;
    h->late = clock_monotonic_us() > h->deadline_us;
    if (h->late) {
        metric_add(&dropped, 1);
    } else {
        metric_add(&hashes, 1);
        h->run(h);
    }
    pthread_mutex_lock(&pool.lock);
    pool.free_threads++;
    start_next();
    pthread_mutex_unlock(&pool.lock);
}

bool hashing_add(struct hashing *h, uint64_t owner) {
    pthread_mutex_lock(&pool.lock);
    bool added = fair_queue_add(&pool.queue, &h->item, owner);
    if (added) {
        metric_add(&waiting, 1);
        start_next();
    }
    pthread_mutex_unlock(&pool.lock);
    return added;
}
