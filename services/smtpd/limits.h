/* smtpd's bounds, each with the reply a client gets when it is met. */
#ifndef POSTBUS_SMTPD_LIMITS_H
#define POSTBUS_SMTPD_LIMITS_H

enum {
    SMTP_LINE_MAX = 4096,       /* a command with its extensions (RFC 5321 §4.5.3.1.4 asks for 512; AUTH for 12288, see
                                   below): 500 5.5.6 */
    SMTP_AUTH_LINE_MAX = 12288, /* RFC 4954 §4: 500 5.5.6 */
    SMTP_RCPTS_MAX = 1000,      /* recipients of one message (RFC 5321 §4.5.3.1.8 asks for 100): 452 4.5.3 */
    SMTP_HOPS_MAX = 50,         /* Received fields (RFC 5321 §6.3): 554 5.4.6 */
    SMTP_HEADER_MAX = 512 * 1024, /* bytes of header block: 552 5.3.4 */
    SMTP_ERRORS_MAX = 20,         /* refused commands of one session: 421 4.7.0 */
    SMTP_AUTH_FAILURES_MAX = 5,   /* wrong passwords of one session: 421 4.7.0 */
    SMTP_OUTPUT_MAX = 64 * 1024, /* replies that the client has not read: nothing more is taken from it until it does */
    SMTP_CONNECTIONS_MAX = 4000, /* of one worker: 421 4.3.2 */
    SMTP_COMMAND_TIMEOUT_MS = 300000, /* RFC 5321 §4.5.3.2.7: 421 4.4.2 */
    SMTP_DATA_TIMEOUT_MS = 180000,    /* between two pieces of a message (§4.5.3.2.5): 421 4.4.2 */
    SMTP_RESOLVE_MS = 10000,          /* accounts' answer: 451 4.3.0 */
    SMTP_VERIFY_MS = 30000,           /* the verifier's answer, with slow DNS behind it: 451 4.7.0 */
};
/* Settings: POSTBUS_MESSAGE_MAX_BYTES (552 5.3.4), POSTBUS_SMTP_MEMORY_MAX (bytes of messages in flight of one worker:
 * 452 4.3.1), POSTBUS_SMTP_CONNECTIONS_PER_CLIENT (of one worker: 421 4.7.0). */

#endif
