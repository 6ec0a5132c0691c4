/* Delivery status notifications (RFC 3461, 3464): when one is owed, its text, and its way into the queue. */
#ifndef POSTBUS_DELIVERY_BOUNCE_H
#define POSTBUS_DELIVERY_BOUNCE_H

#include "services/delivery/delivery.h"

enum report_kind { REPORT_NONE, REPORT_FAILED, REPORT_DELAYED, REPORT_DELIVERED, REPORT_RELAYED };

struct report {
    enum report_kind kind;
    size_t index;
    struct outcome outcome;
};

/* What the recipient's NOTIFY (RFC 3461 §4.1; default: failure and delay) asks for after this outcome. */
enum report_kind report_wanted(const json_t *rcpt, const struct outcome *o, int64_t age_ms,
                               const struct retry_policy *policy, bool warned);

/* The id of the report on these recipients of a message: always the same for the same ones, so that a report made twice
 * is one message. */
void bounce_id(const char *original, size_t count, const struct report reports[], char out[ULID_BYTES]);

/* The report's whole text. original: the message (its header, or all of it when RET=FULL and it is not too large, goes
 * along). */
void bounce_text(const char *hostname, const char *report_id, const struct entry *e, size_t count,
                 const struct report reports[], struct slice original, int64_t now_ms, struct buf *out);

/* Queues the report to the message's sender. done gets 0 also when there is nobody to tell: no sender (RFC 5321
 * §4.5.5), or one that does not exist. */
void bounce_send(struct entry *e, size_t count, const struct report reports[], void (*done)(void *ctx, int error),
                 void *ctx);

#endif
