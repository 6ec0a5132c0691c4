/* delivery: the queue's worker. A message's way, in the order in which it happens:
 *
 *   scheduler.c   leases what is due and gives each entry a message; crew.c: how many workers there are
 *   message/      message.c: its life, which is parts.c, settlement.c, the reports, the lease given back;
 *                 parts.c: parts its due recipients into mailboxes here (local.c) and next hops;
 *                 settlement.c: records what became of them, then tells the bus
 *   destination/  route.c: where a domain's mail goes; destination.c: what waits for one next hop, and the connections
 *                 to it (window.c: how many); connector.c: from MX hosts to an open session (targets.c, race.c)
 *   session/      session.c: the SMTP client up to EHLO and STARTTLS; session_mail.c: one transaction after another,
 *                 the body (body.c) in pieces (stuffing.c)
 *   tls/          what TLS must be like on the way to a host
 *   transaction/  what a message, a destination and a session have in common: recipients with one reverse-path and
 *                 one next hop, their outcomes, and when they are tried again
 *   report/       report.c: writes to the sender, through the outbox; dsn.c: the text
 *   admin.c       what people see and do with the queue
 *
 * Arrows point downwards only: what a part found comes back through the functions that it was given. */
#ifndef POSTBUS_DELIVERY_H
#define POSTBUS_DELIVERY_H

#include "libcommon/service/service.h"
#include "services/delivery/limits.h"
#include "services/delivery/transaction/retry.h"

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
