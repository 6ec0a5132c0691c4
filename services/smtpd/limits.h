/* smtpd's bounds, each with the reply when a client reaches it. */
#ifndef POSTBUS_SMTPD_LIMITS_H
#define POSTBUS_SMTPD_LIMITS_H

enum {
    SMTP_LINE_MAX = 4096,         /* a command with its extensions (RFC 5321 §4.5.3.1.4 asks for
                                     512): 500 5.5.6 */
    SMTP_AUTH_LINE_MAX = 12288,   /* RFC 4954 §4: 500 5.5.6 */
    SMTP_PATH_MAX = 256,          /* a path with its brackets (RFC 5321 §4.5.3.1.3): 501 */
    SMTP_LOCAL_MAX = 64,          /* a local part (§4.5.3.1.1): 501 */
    SMTP_DOMAIN_MAX = 255,        /* a domain (§4.5.3.1.2): 501 */
    SMTP_RCPTS_MAX = 1000,        /* recipients of one message, and RCPT commands that were accepted
                                     (§4.5.3.1.8 asks for 100): 452 4.5.3 */
    SMTP_RCPTS_AT_ONCE = 100,     /* RCPT commands of a pipelined group that are looked up at the
                                     same time; the others wait in the connection */
    SMTP_HOPS_MAX = 50,           /* Received fields (§6.3): 554 5.4.6 */
    SMTP_HEADER_MAX = 512 * 1024, /* bytes of header block: 552 5.3.4 */
    BODY_EARLY_MAX = 256 * 1024,  /* a larger text is written only after its checks (body.c) */
    SMTP_AUTHORS_MAX = 20,        /* addresses in From and Sender of a submitted message: 550
                                     5.6.0 */
    SMTP_ERRORS_MAX = 20,         /* refused commands of one session: 421 4.7.0 */
    SMTP_AUTH_FAILURES_MAX = 5,   /* wrong passwords of one session: 421 4.7.0 */
    SMTP_OUTPUT_MAX = 64 * 1024,  /* unsent replies: no further input is read until the client has
                                     received them */
    SMTP_CONNECTIONS_MAX = 4000,  /* of one worker: 421 4.3.2 */
    SMTP_RESOLVE_MS = 10000,      /* accounts' answer: 451 4.3.0 */
    SMTP_VERIFY_MS = 30000,       /* the verifier's answer, which may wait for slow DNS: 451
                                     4.7.0 */
    SMTP_VERIFY_AT_MS = 5000,     /* the same of the worker to which the message was announced; then any
                                     worker is asked */
    SMTP_PREFETCHES_MAX = 4,      /* messages of one session that are announced to the verifier before
                                     one is accepted: none further is */
    SMTP_PREFETCHING_MAX = 200,   /* the same of one worker at a time */
    SMTP_PREFETCH_KEEP_S = 60,    /* a domain is not announced again from the same client */
    SMTP_PREFETCH_MS = 5000,      /* the verifier's answer to that, without effect on the client */
    SMTP_DELIVER_MS = 2000,       /* the mailbox service's answer; after it the message goes to the
                                     queue */
};
/* Settings (ARCHITECTURE.md): POSTBUS_MESSAGE_MAX_BYTES (552 5.3.4), POSTBUS_SMTP_MEMORY_MAX (452
 * 4.3.1), POSTBUS_SMTP_CONNECTIONS_PER_CLIENT (421 4.7.0), POSTBUS_SMTP_COMMAND_TIME,
 * POSTBUS_SMTP_LOGIN_TIME, POSTBUS_SMTP_SESSION_TIME, POSTBUS_SMTP_DATA_TIME, POSTBUS_SMTP_RATE_MIN
 * (421 4.4.2). */

#endif
