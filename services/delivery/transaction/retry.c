#include "services/delivery/transaction/retry.h"

#include "libcommon/base/config.h"

struct retry_policy retry_policy_read(void) {
    return (struct retry_policy){
        .first_ms = config_number("POSTBUS_RETRY_FIRST_SECONDS", 60, 1, 86400) * 1000,
        .last_ms = config_number("POSTBUS_RETRY_LAST_SECONDS", 4 * 3600, 1, 86400 * 7) * 1000,
        .lifetime_ms = config_number("POSTBUS_QUEUE_LIFETIME_SECONDS", 5 * 86400, 1, 86400 * 365) * 1000,
        .warn_ms = config_number("POSTBUS_DELAY_WARNING_SECONDS", 4 * 3600, 1, 86400 * 365) * 1000,
    };
}

int64_t retry_pause_ms(const struct retry_policy *p, int attempts, uint32_t random) {
    /* 1, 5, 15, 30, 60, 120, 240 times the first pause; RFC 5321 §4.5.4.1 asks for 30 minutes after
     * the first tries */
    static const int steps[] = {1, 5, 15, 30, 60, 120, 240};
    int last = (int)(sizeof steps / sizeof *steps) - 1, step = attempts < 1          ? 0
                                                               : attempts - 1 > last ? last
                                                                                     : attempts - 1;
    int64_t pause = p->first_ms * steps[step];
    if (pause > p->last_ms) pause = p->last_ms;
    return pause + pause / 10 * (int64_t)(random % 1000) / 1000;
}

bool retry_is_expired(const struct retry_policy *p, int64_t received_ms, int64_t now_ms) {
    return now_ms - received_ms > p->lifetime_ms;
}
