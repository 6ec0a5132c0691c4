/* Counters and gauges of a process, read at /metrics in Prometheus' text form. Atomic, so any
 * worker may count. A metric is a static object of its module:
 *
 *   static struct metric accepted = METRIC_COUNTER("postbus_smtpd_messages_accepted_total",
 *                                                  "Messages committed to the queue");
 *   metric_add(&accepted, 1); */
#ifndef POSTBUS_BASE_METRICS_H
#define POSTBUS_BASE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "libcommon/base/buf.h"

struct metric {
    const char *name, *help, *type;
    _Atomic int64_t value;
    _Atomic int registered;
    struct metric *next;
};

#define METRIC_COUNTER(metric_name, metric_help) {.name = metric_name, .help = metric_help, .type = "counter"}
#define METRIC_GAUGE(metric_name, metric_help) {.name = metric_name, .help = metric_help, .type = "gauge"}

void metric_add(struct metric *m, int64_t n);
void metric_set(struct metric *m, int64_t value);
int64_t metric_value(const struct metric *m);
/* All metrics used so far. */
void metrics_write(struct buf *out);

#endif
