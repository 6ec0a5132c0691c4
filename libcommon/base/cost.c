#include "libcommon/base/cost.h"

#include "libcommon/base/metrics.h"

static struct metric counts[COST_KINDS] = {
    [COST_BUS_SENT] = METRIC_COUNTER("postbus_bus_messages_sent_total", "Messages published on the bus"),
    [COST_BUS_RECEIVED] = METRIC_COUNTER("postbus_bus_messages_received_total", "Messages received from the bus"),
    [COST_BUS_REQUESTS] = METRIC_COUNTER("postbus_bus_requests_total", "Requests published on the bus"),
    [COST_JSON_WRITTEN] = METRIC_COUNTER("postbus_json_written_total", "JSON texts written"),
    [COST_JSON_READ] = METRIC_COUNTER("postbus_json_read_total", "JSON texts decoded"),
    [COST_REDIS_COMMANDS] = METRIC_COUNTER("postbus_redis_commands_total", "Commands sent to Redis"),
    [COST_REDIS_FCALLS] = METRIC_COUNTER("postbus_redis_fcalls_total", "Calls of our Redis Functions"),
    [COST_WAKEUPS] = METRIC_COUNTER("postbus_loop_wakeups_total", "Turns of the workers' loops that had work"),
    [COST_BODY_COPIES] = METRIC_COUNTER("postbus_body_copies_total", "Whole message bodies copied in memory"),
    [COST_BODY_BYTES] = METRIC_COUNTER("postbus_body_copied_bytes_total", "Bytes of message bodies copied in memory"),
};

void cost_add(enum cost what, int64_t n) { metric_add(&counts[what], n); }

void cost_body_copy(size_t bytes) {
    cost_add(COST_BODY_COPIES, 1);
    cost_add(COST_BODY_BYTES, (int64_t)bytes);
}

int64_t cost_value(enum cost what) { return metric_value(&counts[what]); }
