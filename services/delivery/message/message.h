/* A leased queue entry: its envelope, the lease, and its outstanding work. The steps: its due
 * recipients are tried (parts.c), each outcome is recorded (settlement.c), owed reports are sent
 * (report.c), then the lease is released, or the body if nothing is left. */
#ifndef POSTBUS_DELIVERY_MESSAGE_H
#define POSTBUS_DELIVERY_MESSAGE_H

#include "libcommon/outbox/envelope.h"
#include "libcommon/service/life.h"
#include "services/delivery/delivery.h"
#include "services/delivery/transaction/transaction.h"

/* A recipient's state in this worker, in addition to the envelope. */
struct progress {
    bool in_work;    /* being tried */
    bool unrecorded; /* has an outcome that the queue has not recorded yet */
    bool recording;  /* the outcome is being recorded */
    bool quiet;      /* deferred again without an attempt: no event is needed */
    struct peer *peer; /* of a remote server's 250, for the event; NULL: none */
};

struct message {
    struct delivery *delivery;
    struct life life;
    struct message *next, *previous; /* of the scheduler */
    struct envelope *envelope;       /* owned */
    char token[ULID_BYTES];
    int64_t lease_end_us;  /* monotonic, by this machine's clock, which also runs while the process
                              is stopped */
    bool lost;             /* another worker has the lease */
    bool adopted;          /* it was lost and leased again: changes by another worker are unknown
                              here */
    int64_t kept_until_ms; /* lost with an unrecorded 250 of a remote server: kept until then */
    bool begun, gone, giving_back, abandoned, ended;
    bool extending;

    struct transaction_owner owner;
    struct progress *progress; /* of each recipient */
    size_t outstanding;        /* parts of it that are being tried */
    size_t unrecorded;
    int waives; /* whether the message says TLS-Required: No: -1: not known yet */

    bool recording, reporting;
    int record_failures, report_failures;
    size_t *recorded; /* indexes of the outcomes that are being recorded */
    size_t recorded_count;
    struct event *again; /* after a failure to record or report */
    bool waiting;        /* for it */

    void (*on_end)(void *ctx, struct message *m); /* the last call: the message is freed after it */
    void *on_end_ctx;
};

/* Takes ownership of the envelope. on_end is called once, from the loop. */
struct message *message_start(struct delivery *d, struct envelope *e, const char *token, int64_t lease_asked_us,
                              void (*on_end)(void *ctx, struct message *m), void *ctx);
/* This worker has leased the entry again while it still has the message. Another worker may have
 * worked on it in between, so no further command is sent to a remote server; unrecorded outcomes
 * are recorded under the new lease, which is then released. */
void message_adopt(struct message *m, const char *token, int64_t lease_asked_us);
/* Extends the lease. */
void message_extend(struct message *m);
/* Whether the lease still holds, as far as this worker knows. */
bool message_may_go_on(const struct message *m);
/* Continues the work, from the loop. */
void message_wake(struct message *m);

/* settlement.c */
void message_settle(struct message *m, size_t count, const size_t indexes[], const struct outcome outcomes[]);
/* Records unrecorded outcomes, in one request at a time, until the queue has answered. */
void settlement_record(struct message *m);
/* Whether a report is owed on a recipient whose state is recorded. */
bool settlement_owes(const struct message *m);
/* parts.c: tries the recipients that are due, or for which a retry was requested. */
void parts_start(struct message *m);
/* Tries recipients whose time has come while others are being tried; when the next one's comes, 0:
 * there is none. */
int64_t parts_start_due(struct message *m);

extern struct metric delivery_delivered, delivery_sent, delivery_deferred, delivery_bounced;

#endif
