/* The schedule of attempts and the lifetime of a message: pure functions. */
#ifndef POSTBUS_DELIVERY_RETRY_H
#define POSTBUS_DELIVERY_RETRY_H

#include <stdbool.h>
#include <stdint.h>

struct retry_policy {
    int64_t first_ms, last_ms; /* pauses grow from first to last */
    int64_t lifetime_ms;       /* RFC 5321 §4.5.4.1: at least 4 to 5 days */
    int64_t warn_ms;           /* age at which the sender gets a delay report */
};

struct retry_policy retry_policy_read(void);
/* The pause after `attempts` failed attempts (1: the first failed), with up to a tenth of jitter
 * from `random`. */
int64_t retry_pause_ms(const struct retry_policy *p, int attempts, uint32_t random);
bool retry_is_expired(const struct retry_policy *p, int64_t received_ms, int64_t now_ms);

#endif
