/* delivery: the queue's worker. An entry's way, in the order in which it happens:
 * scheduler.c (leases what is due) → entry.c (parts its recipients) → local.c (mailbox.deliver) or attempt.c (MX, then
 * hosts, one after another) → smtp_client.c (the session) → entry.c (records the outcome; retry.c says when again;
 * bounce.c tells the sender). */
#ifndef POSTBUS_DELIVERY_H
#define POSTBUS_DELIVERY_H

#include "libcommon/base/arena.h"
#include "libcommon/base/ulid.h"
#include "libcommon/service/service.h"
#include "libcommon/store/queue.h"
#include "services/delivery/limits.h"
#include "services/delivery/retry.h"

struct shard {
    bool wanted, asking; /* there may be due work; a lease call is on its way */
};

struct delivery {
    struct worker *worker;
    SSL_CTX *tls;
    struct shard shards[QUEUE_SHARDS];
    struct event *clock, *extend;
    struct entry *entries;                     /* in work */
    size_t in_flight, remote_sessions, asking; /* asking: lease calls on their way */
    int smtp_port;
    const char *hello;         /* our name in EHLO */
    const char *dane_required; /* domains, comma-separated */
    struct retry_policy policy;
};

/* A leased queue entry. Freed when no part of it is in work any more. */
struct entry {
    struct delivery *delivery;
    struct entry *next, *previous;
    char id[ULID_BYTES];
    json_t *envelope;   /* ours: recipients' states are kept up to date in it */
    size_t outstanding; /* parts of it not done yet */
    size_t settling;    /* of these: tried, and being recorded */
};

/* How one recipient's try ended. */
struct outcome {
    enum outcome_kind { OUTCOME_DELIVERED, OUTCOME_SENT, OUTCOME_DEFERRED, OUTCOME_BOUNCED } kind;
    int code;              /* SMTP reply code, or 0 */
    const char *enhanced;  /* "4.4.1" */
    const char *reason;    /* in words; the peer's reply where there is one */
    const char *host;      /* the peer, "" for local */
    int64_t retry_ms;      /* OUTCOME_DEFERRED: from now; 0: by the schedule */
    bool dsn_passed_on;    /* the next server promised to send the reports (RFC 3461 §5.2.2) */
    const json_t *details; /* OUTCOME_SENT: ip, port, tls, cipher, tls_verified for the event; may be NULL */
};

/* scheduler.c */
void scheduler_start(struct delivery *d);
void scheduler_stop(struct delivery *d);
void scheduler_want(struct delivery *d, int shard);
/* While draining: tells the service when nothing is left to finish. */
void scheduler_check_drained(struct delivery *d);
/* entry.c */
void entry_start(struct delivery *d, struct slice id, json_t *envelope);
void entry_destroy(struct entry *e);
json_t *entry_rcpt(const struct entry *e, size_t index);
/* The reverse-path with which a recipient's copy goes on: its own where it was handed on by an alias (SRS), else the
 * message's. */
const char *entry_reverse_path(const struct entry *e, size_t index);
/* Records how the tries of these recipients ended (one outcome each), tells the bus, writes reports; then done with
 * `parts` of the entry's work. */
void entry_settle(struct entry *e, size_t count, const size_t indexes[], const struct outcome outcomes[]);
/* local.c */
void local_deliver(struct entry *e, size_t index);
/* attempt.c: the recipients of one domain. indexes is copied. */
void attempt_start(struct entry *e, const char *domain, size_t count, const size_t indexes[]);
/* admin.c */
void admin_start(struct delivery *d);

extern struct metric delivery_delivered, delivery_sent, delivery_deferred, delivery_bounced, delivery_in_work;

#endif
