/* New connections with TLS, each with a LOGIN and a LOGOUT, so many at once: for some seconds over
 * the same mailboxes, or (--messages) one for each of so many accounts. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "tests/bench/drive/drive.h"

enum { LOGINS_MAX = 200000 };

struct logins {
    const struct drive *drive;
    int most;
    int64_t end_us;
    _Atomic int next, failed;
    int64_t *latency_us;
};

static void *log_in(void *ctx) {
    struct logins *l = ctx;
    while (clock_monotonic_us() < l->end_us) {
        int number = l->next++;
        if (number >= l->most) break;
        struct imap imap;
        int64_t began = clock_monotonic_us();
        if (imap_open(&imap, l->drive, number % l->drive->mailboxes)) l->failed++;
        l->latency_us[number] = clock_monotonic_us() - began;
        imap_close(&imap);
    }
    return NULL;
}

void measure_logins(const struct drive *d) {
    struct logins l = {.drive = d, .most = d->messages ? d->messages : LOGINS_MAX};
    l.latency_us = memory_alloc((size_t)l.most * sizeof *l.latency_us);
    drive_ready();
    int64_t began = clock_monotonic_us();
    l.end_us = began + (d->messages ? 600 : d->seconds) * INT64_C(1000000);
    drive_threads(d->sessions, log_in, &l);
    double seconds = (double)(clock_monotonic_us() - began) / 1e6;
    int done = l.next < l.most ? l.next : l.most;
    if (l.failed) drive_fail("%d of %d logins failed", l.failed, done);
    drive_answer("\"logins\":%d,\"seconds\":%.2f,\"logins_per_s\":%.1f,\"login_ms_p50\":%.2f,\"login_ms_p99\":%.2f",
                 done, seconds, done / seconds, percentile_ms(l.latency_us, (size_t)done, 0.5),
                 percentile_ms(l.latency_us, (size_t)done, 0.99));
    free(l.latency_us);
}
