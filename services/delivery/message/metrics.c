#include "services/delivery/message/message.h"

struct metric delivery_delivered =
    METRIC_COUNTER("postbus_delivery_delivered_total", "Recipients delivered to a mailbox here");
struct metric delivery_sent = METRIC_COUNTER("postbus_delivery_sent_total", "Recipients handed to another server");
struct metric delivery_deferred = METRIC_COUNTER("postbus_delivery_deferred_total", "Tries that will be made again");
struct metric delivery_bounced = METRIC_COUNTER("postbus_delivery_bounced_total", "Recipients given up");
