#include "libcommon/base/metrics.h"

#include <inttypes.h>

static _Atomic(struct metric *) all_metrics; /* a list that only grows: one entry for each metric
                                                that was used */

static void metric_register(struct metric *m) {
    if (atomic_exchange(&m->registered, 1)) return;
    struct metric *head = atomic_load(&all_metrics);
    do m->next = head;
    while (!atomic_compare_exchange_weak(&all_metrics, &head, m));
}

void metric_add(struct metric *m, int64_t n) {
    if (!atomic_load_explicit(&m->registered, memory_order_relaxed)) metric_register(m);
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

void metric_set(struct metric *m, int64_t value) {
    if (!atomic_load_explicit(&m->registered, memory_order_relaxed)) metric_register(m);
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

int64_t metric_value(const struct metric *m) { return atomic_load(&m->value); }

void metrics_write(struct buf *out) {
    for (struct metric *m = atomic_load(&all_metrics); m; m = m->next)
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %" PRId64 "\n", m->name, m->help, m->name, m->type, m->name,
                   metric_value(m));
}
