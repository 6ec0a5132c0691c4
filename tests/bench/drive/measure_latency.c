/* One message at a time: from its last byte to the 250, and to the EXISTS on a connection in
 * IDLE. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "tests/bench/drive/drive.h"

enum { ADDRESS_BYTES = 256, PAUSE_US = 20000, PATIENCE_SECONDS = 30 };

struct watcher {
    struct imap imap;
    pthread_mutex_t lock;
    pthread_cond_t seen;
    long count;
    int64_t at_us;
};

static void *watch(void *ctx) {
    struct watcher *w = ctx;
    while (!imap_await_exists(&w->imap)) {
        int64_t now = clock_monotonic_us();
        pthread_mutex_lock(&w->lock);
        w->at_us = now;
        w->count = w->imap.exists;
        pthread_cond_signal(&w->seen);
        pthread_mutex_unlock(&w->lock);
    }
    return NULL;
}

/* When the mailbox had so many messages. */
static int64_t await(struct watcher *w, long count) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_SECONDS;
    pthread_mutex_lock(&w->lock);
    while (w->count < count)
        if (pthread_cond_timedwait(&w->seen, &w->lock, &until)) drive_fail("EXISTS does not come");
    int64_t at = w->at_us;
    pthread_mutex_unlock(&w->lock);
    return at;
}

void measure_latency(const struct drive *d) {
    struct watcher w = {.lock = PTHREAD_MUTEX_INITIALIZER, .seen = PTHREAD_COND_INITIALIZER};
    struct smtp smtp = {0};
    struct buf message = {0};
    char to[ADDRESS_BYTES];
    pthread_t thread;
    size_t n = (size_t)d->messages;
    int64_t *accepted = memory_alloc(n * sizeof *accepted), *visible = memory_alloc(n * sizeof *visible),
            *after = memory_alloc(n * sizeof *after);
    drive_address(to, sizeof to, d->user, 0);
    if (imap_open(&w.imap, d, 0) || imap_purge(&w.imap) || imap_command(&w.imap, "SELECT INBOX"))
        drive_fail("the mailbox cannot be opened");
    w.count = w.imap.exists;
    if (imap_idle(&w.imap) || smtp_open(&smtp, &d->smtp, NULL, NULL)) drive_fail("no session");
    pthread_create(&thread, NULL, watch, &w);
    drive_ready();
    for (size_t i = 0; i < n; i++) {
        long count = w.count + 1;
        message_write(&message, d->from, to, d->size, (int)i);
        if (smtp_send(&smtp, d->from, to, buf_slice(&message))) drive_fail("message %zu was refused", i);
        int64_t at = await(&w, count);
        accepted[i] = smtp.answer_us - smtp.end_us;
        visible[i] = at - smtp.end_us;
        after[i] = at > smtp.answer_us ? at - smtp.answer_us : 0; /* EXISTS may come before the 250 */
        usleep(PAUSE_US);
    }
    drive_answer(
        "\"messages\":%zu,\"accept_ms_p50\":%.3f,\"accept_ms_p99\":%.3f,\"exists_ms_p50\":%.3f,\"exists_ms_p99\":%."
        "3f,\"exists_after_250_ms_p50\":%.3f,"
        "\"exists_after_250_ms_p99\":%.3f",
        n, percentile_ms(accepted, n, 0.5), percentile_ms(accepted, n, 0.99), percentile_ms(visible, n, 0.5),
        percentile_ms(visible, n, 0.99), percentile_ms(after, n, 0.5), percentile_ms(after, n, 0.99));
    _exit(0); /* the watcher waits in IDLE */
}
