/* delivery: the worker of the queue. The steps of a message in their order:
 *
 *   scheduler.c   leases due entries and creates a message for each; crew.c: the number of workers
 *   message/      message.c: its lifetime: parts.c, settlement.c, the reports, the release of the
 *                 lease; leased.c: its state and its lease;
 *                 parts.c: divides its due recipients into local mailboxes (local.c) and next hops;
 *                 settlement.c: records their outcomes, then publishes events
 *   destination/  route.c: the route of a domain; destination.c: the transactions that wait for
 *                 one next hop, and the connections to it (window.c: their number); connector.c:
 *                 from MX hosts to an open session (targets.c, race.c)
 *   session/      session.c: the SMTP client up to EHLO and STARTTLS; session_mail.c: one
 *                 transaction after another, the body (body.c) in pieces (stuffing.c);
 *                 connection.c: the state of both
 *   tls/          the demands on TLS for a host
 *   transaction/  shared by message, destination and session: recipients with one reverse-path
 *                 and one next hop, their outcomes, and the times of further attempts
 *   report/       report.c: writes to the sender, through the outbox; dsn.c: the text
 *   admin.c       the administration of the queue
 *
 * Each part uses only parts below it; results are returned through callbacks. */
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

/* Shared by all parts of one worker. */
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
