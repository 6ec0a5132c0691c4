/* A leased queue entry: its state in this worker, and its lease. */
#ifndef POSTBUS_DELIVERY_LEASED_H
#define POSTBUS_DELIVERY_LEASED_H

#include "libcommon/codec/envelope.h"
#include "libcommon/service/life.h"
#include "services/delivery/delivery.h"
#include "services/delivery/transaction/transaction.h"

/* A recipient's state in this worker, in addition to the envelope. */
struct progress {
    bool in_work;      /* being tried */
    bool unrecorded;   /* has an outcome that the queue has not recorded yet */
    bool recording;    /* the outcome is being recorded */
    bool quiet;        /* deferred again without an attempt: no event is needed */
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

/* The lease was given with this token, by a request that was sent at lease_asked_us (monotonic). */
void message_take_lease(struct message *m, const char *token, int64_t lease_asked_us);
/* Extends the lease. */
void message_extend(struct message *m);
/* Whether the lease still holds, as far as this worker knows. */
bool message_may_go_on(const struct message *m);
/* Continues the work, from the loop. */
void message_wake(struct message *m);
/* Continues it after a pause; `waiting` is set until then. */
void message_wait(struct message *m, int64_t ms);

#endif
