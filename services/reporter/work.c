/* What the parts of the service share: its metrics, and whether work is left. */
#include "services/reporter/reporter.h"

struct metric reporter_counted =
                  METRIC_COUNTER("postbus_reporter_facts_total", "Messages and TLS sessions counted for reports"),
              reporter_late =
                  METRIC_COUNTER("postbus_reporter_late_facts_total", "Facts of a period that was already reported"),
              reporter_sent = METRIC_COUNTER("postbus_reporter_sent_total", "Reports sent"),
              reporter_refused = METRIC_COUNTER("postbus_reporter_refused_total",
                                                "Addresses that do not permit reports, or that refused one"),
              reporter_kept =
                  METRIC_COUNTER("postbus_reporter_received_total", "Reports of other sites that were stored"),
              reporter_unreadable = METRIC_COUNTER("postbus_reporter_unreadable_total",
                                                   "Mails to report addresses without a readable report");

void reporter_check_drained(struct reporter *r) {
    if (r->draining && !r->requests && !r->incoming && !r->failures && !r->fetching && !r->sending)
        service_drained(r->worker);
}
