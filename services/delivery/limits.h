/* delivery's bounds, and the effect when they are reached. All are for one worker unless stated
 * otherwise. */
#ifndef POSTBUS_DELIVERY_LIMITS_H
#define POSTBUS_DELIVERY_LIMITS_H

enum {
    DELIVERY_MESSAGES_MAX = 4000, /* messages in progress: no more are leased until some are done */
    DELIVERY_RCPTS_MAX = 100000,  /* their recipients, likewise */
    DELIVERY_LEASE_BATCH = 128,
    DELIVERY_TEXTS_BYTES = 16 * 1024 * 1024,   /* compressed texts that came with leases: further
                                                  ones are read when they are needed */
    DELIVERY_GATHER_MS = 3,                    /* between two leases of a shard: entries gather */
    DELIVERY_CLOCK_MS = 1000,                  /* maximum delay of due work without an event */
    DELIVERY_LOCAL_MS = 30000,                 /* mailbox.deliver's answer: tried again soon */
    DELIVERY_LOCAL_REQUESTS = 4,               /* concurrent mailbox.deliver requests */
    DELIVERY_LOCAL_BYTES = 500 * 1024,         /* about, of one of them; further bounds are in
                                                  libcommon/codec/deliver.h */
    DELIVERY_ROUTE_MS = 30000,                 /* verifier.route's answer: tried again soon, which
                                                  counts as no attempt */
    DELIVERY_ROUTE_KEPT_MS = 1000,             /* a route is not asked for again for this long */
    DELIVERY_RECORD_RETRY_MS = 1000,           /* an outcome that could not be recorded is recorded
                                                  again after this */
    DELIVERY_REPORT_TRIES = 6,                 /* at a report to the sender, 1 s to 10 s apart; then
                                                  when the lease ended */
    DELIVERY_DRAIN_SECONDS = 620,              /* a stopping process waits for answers to the final
                                                  dot: SMTP_DATA_END_MS */
    DELIVERY_BODIES_BYTES = 128 * 1024 * 1024, /* message bodies in memory, for the process: others
                                                  wait */
    DELIVERY_PIPELINED_BODY = 64 * 1024,       /* DATA is pipelined after RCPT for messages up to
                                                  this size */

    DESTINATION_WINDOW_START = 2,      /* connections to a new destination */
    DESTINATION_WINDOW_MAX = 20,       /* to one destination, of all workers of the site together */
    DESTINATION_WAITING_MAX = 1000,    /* transactions that wait for a destination which takes mail:
                                          more are parked */
    DESTINATION_WAITING_LEAST = 2,     /* and at least for one that has not taken any yet */
    DESTINATION_PARK_MS = 5000,        /* a parked message comes again after this at the earliest,
                                          … */
    DESTINATION_PARK_LAST_MS = 300000, /* … after this at the latest, and within half its age */
    DESTINATION_FORGOTTEN_MS = 600000, /* the state of a destination is kept for this long after its
                                          last use */
    DESTINATION_SESSIONS_MAX = 2000,   /* connections of one worker to all destinations: idle ones
                                          are closed, then it waits */
    DESTINATION_RACE_MS = 250,         /* RFC 8305 §5: the next address of a host is tried beside
                                          the first after this */
    DESTINATION_HOST_ADDRESSES = 6,    /* addresses tried of one host */
    DESTINATION_ADDRESSES_MAX = 32,    /* of all hosts */
    DESTINATION_RCPTS = 100,           /* recipients of one transaction where LIMITS RCPTMAX does
                                          not say (RFC 5321 §4.5.3.1.8) */
    SESSION_TRANSACTIONS_MAX = 1000,   /* on one connection: then it is closed */
    SESSION_IDLE_MS = 5000,            /* a connection without work is closed after this */

    SMTP_REPLY_LINE_MAX = 4096, /* a peer's reply line: the session is given up */
    SMTP_REPLY_TEXT_MAX = 2048, /* bytes of a reply that are kept */
    SMTP_REPLY_LINES_MAX = 200,
    SMTP_CONNECT_MS = 30000,
    SMTP_GREETING_MS = 300000,      /* RFC 5321 §4.5.3.2.1 */
    SMTP_COMMAND_MS = 300000,       /* §4.5.3.2.2, .3 */
    SMTP_DATA_MS = 180000,          /* §4.5.3.2.4, .5 */
    SMTP_DATA_END_MS = 600000,      /* §4.5.3.2.6 */
    SMTP_WRITE_AHEAD = 256 * 1024,  /* bytes of a body given to the stream at once */
    QUOTA_PATIENCE_SECONDS = 86400, /* a full mailbox is tried for a day, then 5.2.2 */
};

#endif
