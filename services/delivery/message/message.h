/* A leased queue entry in work: its envelope, the lease, and what of it is outstanding. In this order: its due
 * recipients are tried (parts.c), each outcome is recorded (settlement.c), then come the reports that are owed
 * (report.c), then the lease is given back, or the body released where nothing is left. */
#ifndef POSTBUS_DELIVERY_MESSAGE_H
#define POSTBUS_DELIVERY_MESSAGE_H

#include "libcommon/outbox/envelope.h"
#include "libcommon/service/life.h"
#include "services/delivery/delivery.h"
#include "services/delivery/transaction/transaction.h"

/* What this worker knows of a recipient beyond the envelope. */
struct progress {
    bool in_work;    /* being tried */
    bool unrecorded; /* has an outcome that the queue does not know yet */
    bool recording;  /* which is on its way there */
    bool quiet;      /* put off again as before, without an attempt: nobody needs to hear of it */
    json_t *details; /* of a remote server's 250, for the event */
};

struct message {
    struct delivery *delivery;
    struct life life;
    struct message *next, *previous; /* of the scheduler */
    struct envelope *envelope;       /* ours */
    char token[ULID_BYTES];
    int64_t lease_end_us;  /* monotonic; by our own clock, which runs while the process is stopped */
    bool lost;             /* the lease is another's */
    bool adopted;          /* it was lost and came back: what another did meanwhile is not known here */
    int64_t kept_until_ms; /* lost with a remote server's 250 in hand: kept for this long */
    bool begun, gone, giving_back, abandoned, ended;
    bool extending;

    struct transaction_owner owner;
    struct progress *progress; /* of each recipient */
    size_t outstanding;        /* parts of it that are being tried */
    size_t unrecorded;
    int waives; /* whether the message says TLS-Required: No: -1: not known yet */

    bool recording, reporting;
    int record_failures, report_failures;
    size_t *recorded; /* indexes of the record that is on its way */
    size_t recorded_count;
    struct event *again; /* after a failure to record or report */
    bool waiting;        /* for it */

    void (*on_end)(void *ctx, struct message *m); /* the last call: the message is freed after it */
    void *on_end_ctx;
};

/* Takes the envelope. on_end comes once, from the loop. */
struct message *message_start(struct delivery *d, struct envelope *e, const char *token, int64_t lease_asked_us,
                              void (*on_end)(void *ctx, struct message *m), void *ctx);
/* The entry was leased again by this worker, which still has the message: another may have worked on it between. So no
 * command goes to a remote server any more; what is known but not recorded is recorded under the new lease, which is
 * then given back. */
void message_adopt(struct message *m, const char *token, int64_t lease_asked_us);
/* Makes the lease last. */
void message_extend(struct message *m);
/* Whether the lease still holds, as far as we know. */
bool message_may_go_on(const struct message *m);
/* Looks again at what is to be done, from the loop. */
void message_wake(struct message *m);

/* settlement.c */
void message_settle(struct message *m, size_t count, const size_t indexes[], const struct outcome outcomes[]);
/* Records what is not recorded yet, in one request at a time, until the queue has answered. */
void settlement_record(struct message *m);
/* Whether a report is owed on a recipient whose state is recorded. */
bool settlement_owes(const struct message *m);
/* parts.c: tries the recipients that are due, or for which somebody asked for a retry. */
void parts_start(struct message *m);
/* Tries recipients whose time has come while others are being tried; when the next one's comes, 0: there is none. */
int64_t parts_start_due(struct message *m);

extern struct metric delivery_delivered, delivery_sent, delivery_deferred, delivery_bounced;

#endif
