/* delivery's bounds, and what happens when they are met. */
#ifndef POSTBUS_DELIVERY_LIMITS_H
#define POSTBUS_DELIVERY_LIMITS_H

enum {
    DELIVERY_IN_FLIGHT_MAX = 600, /* entries of one worker: no more are leased until some are done */
    DELIVERY_LEASE_BATCH = 128,
    DELIVERY_LEASE_MS = 120000,  /* a killed worker's entries are found again after this */
    DELIVERY_EXTEND_MS = 40000,  /* leases of entries still in work are renewed this often */
    DELIVERY_CLOCK_MS = 1000,    /* how late due work may be noticed when an event was lost */
    DELIVERY_REMOTE_MAX = 200,   /* SMTP sessions of one worker: further entries wait 1 s */
    DELIVERY_ADDRESSES_MAX = 10, /* addresses tried in one attempt */
    DELIVERY_LOCAL_MS = 30000,   /* mailbox.deliver's answer: tried again soon */
    DELIVERY_ROUTE_MS = 30000,   /* verifier.route's answer: deferred */
    SMTP_REPLY_LINE_MAX = 4096,  /* a peer's reply line: the session is given up */
    SMTP_REPLY_TEXT_MAX = 2048,  /* what is kept of a reply */
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
