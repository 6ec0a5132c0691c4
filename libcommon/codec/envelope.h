/* The envelope of a message (RFC 5321 §2.3.1) and the state of each of its recipients. All services
 * that create, queue or deliver mail use this type; its encoding is private to envelope.c. */
#ifndef POSTBUS_OUTBOX_ENVELOPE_H
#define POSTBUS_OUTBOX_ENVELOPE_H

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"
#include "libcommon/base/ulid.h"

enum { ENVELOPE_RCPTS_MAX = 1000, ENVELOPE_PREFIX_MAX = 16 * 1024, ENVELOPE_HOLD_MAX = 500 };

enum envelope_origin { ORIGIN_SUBMISSION, ORIGIN_MX, ORIGIN_BOUNCE, ORIGIN_REPORT };
enum envelope_body { BODY_7BIT, BODY_8BITMIME, BODY_BINARYMIME };
enum rcpt_state { RCPT_DUE, RCPT_DEFERRED, RCPT_DELIVERED, RCPT_SENT, RCPT_BOUNCED };
/* Delivery status notifications (RFC 3461): which one is owed to the sender about a recipient. */
enum rcpt_report { REPORT_NONE, REPORT_FAILED, REPORT_DELAYED, REPORT_DELIVERED, REPORT_RELAYED };

struct envelope_rcpt {
    struct slice address; /* UTF-8, local@domain */
    struct slice user;    /* account id of a local mailbox, or "reporter"; empty: at another site */
    struct slice from;    /* the reverse-path of this copy (SRS); p NULL: that of the message */
    struct slice orcpt;   /* ORCPT as given, xtext (RFC 3461 §4.2); empty: none */
    struct slice notify;  /* "never" or a list of "success", "failure", "delay"; empty: none
                             given */

    enum rcpt_state state;
    enum rcpt_report owed;              /* recorded with the state, not sent yet */
    int attempts;                       /* counted attempts; an attempt that failed because of this
                                           site does not count */
    int64_t next_ms;                    /* RCPT_DEFERRED: time of the next attempt, ms since 1970 */
    bool warned;                        /* a report of the delay was owed once */
    int code;                           /* of the last reply, 0: none */
    struct slice enhanced, reply, host; /* of the last attempt */
};

/* All slices belong to `arena`, or outlive the envelope where arena is NULL. */
struct envelope {
    struct arena *arena; /* NULL: not owned (created by the caller that commits it) */
    char id[ULID_BYTES];
    struct slice from; /* reverse-path without <>; empty: the null sender */
    enum envelope_origin origin;
    uint64_t size;           /* bytes of the whole message, with the prefix */
    struct slice message_id; /* with <>; empty: none */
    int64_t received_ms;
    bool smtputf8, require_tls;
    enum envelope_body body;
    struct slice ret, envid; /* RET ("full", "hdrs") and ENVID (RFC 3461); empty: none */
    struct slice folder;     /* for local recipients: "Junk" for the verdict quarantine; empty:
                                INBOX */
    struct slice hold;       /* in words, why the message begins held in the queue (queue_hold); empty:
                                it does not. At most ENVELOPE_HOLD_MAX bytes */
    struct slice prefix;     /* header fields, each with CRLF, that are before the stored body; only
                                where all recipients have a mailbox here (services/smtpd/body.c);
                                empty: none. At most ENVELOPE_PREFIX_MAX bytes */
    int priority;            /* -9 … 9, 0: ordinary (RFC 6710) */
    bool text_in_queue;      /* the message's text is kept with the entry (queue_commit_text), not
                                as a body in blob.h */
    struct slice packed;     /* that text, compressed (queue_unpack_text), where a lease has brought it along;
                                empty: it is read when it is needed. Not encoded. */
    size_t rcpt_count;
    struct envelope_rcpt *rcpts;
};

/* The fixed part (everything above but the recipients' states) as JSON text. */
void envelope_encode(const struct envelope *e, struct buf *out);
/* One recipient's state, the second block of struct envelope_rcpt, as JSON text. */
void envelope_encode_state(const struct envelope_rcpt *r, struct buf *out);
/* Reads the text of envelope_encode into a new envelope with its own arena, with all recipients
 * RCPT_DUE. NULL: damaged. The caller destroys it. */
struct envelope *envelope_decode(const char *id, struct slice text);
/* Reads a state into recipient `index`; -1: damaged or no such recipient (the envelope is
 * unchanged). */
int envelope_decode_state(struct envelope *e, size_t index, struct slice text);
void envelope_destroy(struct envelope *e); /* NULL is allowed */

/* The reverse-path of a recipient's copy. */
struct slice envelope_from(const struct envelope *e, size_t index);
/* The part after the last "@" of an address; empty when there is none. */
struct slice envelope_domain(struct slice address);

#endif
