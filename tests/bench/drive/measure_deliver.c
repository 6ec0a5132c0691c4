/* How many messages a second are accepted, and visible in their mailboxes. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "tests/bench/drive/drive.h"

enum { PATIENCE_US = 120000000, LOOK_US = 3000, LOOK_MAX_US = 1000000 };

/* Waits until a mailbox has so many. A STATUS costs some servers much: the waits are half of what
 * the rest should take by the rate so far. */
static void await(struct imap *s, long want) {
    long first = -1;
    int64_t began = clock_monotonic_us();
    for (;;) {
        long have = imap_count(s);
        int64_t passed = clock_monotonic_us() - began, pause = 20 * LOOK_US;
        if (have >= want) return;
        if (have < 0 || passed > PATIENCE_US) drive_fail("a mailbox has %ld messages of %ld", have, want);
        if (first < 0)
            first = have;
        else if (have > first)
            pause = (want - have) * passed / (have - first) / 2;
        usleep((useconds_t)(pause < LOOK_US ? LOOK_US : pause > LOOK_MAX_US ? LOOK_MAX_US : pause));
    }
}

void measure_deliver(const struct drive *d) {
    struct imap *boxes = memory_alloc((size_t)d->mailboxes * sizeof *boxes);
    for (int i = 0; i < d->mailboxes; i++)
        if (imap_open(&boxes[i], d, i) || imap_purge(&boxes[i])) drive_fail("mailbox %d cannot be opened", i);
    drive_ready();
    struct load load = {.drive = d};
    int64_t began = clock_monotonic_us();
    load_run(&load);
    if (load.refused) drive_fail("%d of %d messages were refused", load.refused, d->messages);
    for (int i = 0; i < d->mailboxes; i++)
        await(&boxes[i], d->messages / d->mailboxes + (i < d->messages % d->mailboxes));
    double seconds = (double)(clock_monotonic_us() - began) / 1e6, accepting = (double)(load.last_us - began) / 1e6;
    size_t n = (size_t)load.accepted;
    drive_answer(
        "\"messages\":%d,\"visible_per_s\":%.1f,\"accepted_per_s\":%.1f,\"transaction_ms_p50\":%.3f,\"transaction_"
        "ms_p99\":%.3f",
        load.accepted, load.accepted / seconds, load.accepted / accepting, percentile_ms(load.latency_us, n, 0.5),
        percentile_ms(load.latency_us, n, 0.99));
    for (int i = 0; i < d->mailboxes; i++) imap_close(&boxes[i]);
    free(boxes);
    free(load.latency_us);
}
