/* How many messages a second go from submission (STARTTLS, AUTH) to another site's server, and over
 * how many connections. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/base/clock.h"
#include "tests/bench/drive/drive.h"

enum { PATIENCE_US = 60000000, LOOK_US = 2000 };

void measure_relay(const struct drive *d) {
    sink_start(&d->sink);
    drive_ready();
    struct load load = {.drive = d, .relay = true};
    int64_t began = clock_monotonic_us();
    load_run(&load);
    if (load.refused) drive_fail("%d of %d messages were refused", load.refused, d->messages);
    int64_t end = clock_monotonic_us() + PATIENCE_US;
    while (sink_count().messages < load.accepted) {
        if (clock_monotonic_us() > end) drive_fail("%d of %d messages came out", sink_count().messages, load.accepted);
        usleep(LOOK_US);
    }
    struct sink_count sunk = sink_count();
    size_t n = (size_t)load.accepted;
    drive_answer(
        "\"messages\":%d,\"relayed_per_s\":%.1f,\"accepted_per_s\":%.1f,\"connections\":%d,\"transaction_ms_p50\":%"
        ".3f,\"transaction_ms_p99\":%.3f",
        sunk.messages, sunk.messages / ((double)(sunk.last_us - began) / 1e6),
        load.accepted / ((double)(load.last_us - began) / 1e6), sunk.connections,
        percentile_ms(load.latency_us, n, 0.5), percentile_ms(load.latency_us, n, 0.99));
    free(load.latency_us);
}
