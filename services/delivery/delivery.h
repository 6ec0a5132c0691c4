/* delivery: the queue's worker. A message's way, in the order in which it happens:
 *
 *   scheduler.c    leases what is due and gives each entry a message.c
 *   message.c      its life: parts.c, then settlement.c, then reports, then the lease is given back
 *   parts.c        parts its due recipients: local.c for mailboxes here, route.c and destination.c for the others
 *   destination.c  transactions that wait for one next hop, and the connections to it
 *   connector.c    from MX hosts to an open SMTP session (targets.c, race.c: RFC 8305)
 *   session.c      the SMTP client: EHLO and STARTTLS; session_mail.c: one transaction after another; stuffing.c
 *   settlement.c   records what became of the recipients, and tells the bus
 *   report.c       writes to the sender (dsn.c: the text), through the outbox
 *
 * Arrows point downwards only: what a part found comes back through the functions that it was given. */
#ifndef POSTBUS_DELIVERY_H
#define POSTBUS_DELIVERY_H

#include "libcommon/service/service.h"
#include "services/delivery/limits.h"
#include "services/delivery/retry.h"

struct scheduler;
struct routes;
struct destinations;
struct bodies;
struct locals;
struct crew;

/* What all parts of one worker need. */
struct delivery {
    struct worker *worker;
    SSL_CTX *tls;
    int smtp_port;
    int64_t lease_ms;
    bool private_destinations; /* mail may go to servers with addresses that are not public */
    const char *hello;         /* our name in EHLO */
    const char *dane_required; /* domains, comma-separated */
    struct retry_policy policy;

    struct scheduler *scheduler;
    struct routes *routes;
    struct destinations *destinations;
    struct bodies *bodies;
    struct locals *locals;
    struct crew *crew;
};

/* admin.c: delivery.queue.* */
void admin_start(struct delivery *d);

#endif
