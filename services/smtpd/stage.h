/* The stages of a mail transaction, and the checks of each before the client gets its reply.
 *
 * A check is one function, in the table of main.c under its stage. It gets a struct checking and
 * reports its result with check_reject(), check_quarantine() or check_hold(), at once or after a
 * request to a service (check_ask); a check that reports nothing accepts. The checks of a stage run one after
 * another, and the first refusal ends the stage. Those of several RCPT commands of a pipelined
 * group run concurrently. */
#ifndef POSTBUS_SMTPD_STAGE_H
#define POSTBUS_SMTPD_STAGE_H

#include "libcommon/base/buf.h"
#include "libcommon/bus/bus.h"

struct session;
struct checking;
struct rcpt_command;

enum stage {
    STAGE_CONNECT, /* before the greeting */
    STAGE_HELLO,   /* EHLO, HELO */
    STAGE_AUTH,    /* login and password are known */
    STAGE_MAIL,
    STAGE_RCPT,
    STAGE_DATA, /* before the text is requested */
    STAGE_END,  /* the text is complete; header fields may be added and dropped (message_put_on_top,
                   message_drop) */
    STAGES
};

enum { STAGE_CHECKS_MAX = 8 };
enum { VERDICT_TEXT_BYTES = 512 /* RFC 5321 §4.5.3.1.5 */ };

/* The result of the checks of a stage. A folder and a hold apply to the message, and are passed on
 * in its envelope; those set at a stage before MAIL apply to every message of the session. */
struct verdict {
    int code; /* 0: accepted; 4xx: deferred; 5xx: rejected */
    char enhanced[12], text[VERDICT_TEXT_BYTES];
    const char *folder; /* folder for local recipients; NULL: INBOX */
    const char *hold;   /* the reason why the message is to be held in the queue; NULL: it is not */
};

typedef void check_fn(struct checking *c);
/* reply: JSON text, also with BUS_REFUSED; empty when there is none. */
typedef void check_answer_fn(struct checking *c, int error, struct slice reply);

/* One run of the checks of a stage. */
struct checking {
    struct session *session;
    enum stage stage;
    struct rcpt_command *rcpt; /* STAGE_RCPT: which one */
    struct verdict verdict;
    size_t next;             /* of the stage's checks */
    bool waits;              /* for a service's answer */
    check_answer_fn *answer; /* gets it */
    uint64_t mark;           /* resolver_mark() at the time of the request to accounts */
};

void stage_begin(struct checking *c, struct session *s, enum stage stage);
/* Runs checks until one waits for an answer; true: the stage is complete. Called from the session's
 * loop; an answer wakes it. */
bool stage_step(struct checking *c);

/* Refuses with this reply: code 4xx or 5xx. */
void check_reject(struct checking *c, int code, const char *enhanced, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Accepts, but local recipients get it in this folder (of static life). */
void check_quarantine(struct checking *c, const char *folder);
/* Accepts, but the message is held in the queue until a person releases or deletes it. reason: in
 * words, up to ENVELOPE_HOLD_MAX bytes are kept; valid as long as the transaction or, before MAIL,
 * of static life. */
void check_hold(struct checking *c, const char *reason);
/* Sends a request to a service; the check continues in answer(), which is not called when the
 * session has ended. ask: JSON text, freed here. */
void check_ask(struct checking *c, const char *verb, struct buf *ask, int timeout_ms, check_answer_fn *answer);
/* The checks. */
check_fn check_connections;                            /* clients: connection.c */
check_fn check_login;                                  /* cmd_auth.c */
check_fn check_sender;                                 /* cmd_mail.c */
check_fn check_recipient;                              /* cmd_rcpt.c */
check_fn check_text, check_early_write;                /* data.c, body.c */
check_fn check_proofs, check_forgery, check_seal;      /* incoming.c */
check_fn check_header, check_authors, check_signature; /* outgoing.c */

#endif
