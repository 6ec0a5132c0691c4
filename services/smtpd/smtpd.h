/* smtpd: the SMTP server on 25 (other servers), 587 and 465 (submission). A message's way through
 * it, in the order in which it happens:
 *
 *   connection.c   greeting, the order of commands and of replies (its loop)
 *   session.c      replies, and the start of a stage's checks
 *   cmd_hello.c    EHLO, HELO, STARTTLS
 *   cmd_auth.c     AUTH
 *   cmd_mail.c     MAIL
 *   cmd_rcpt.c     RCPT; resolve.c caches the answers of accounts
 *   data.c         DATA and BDAT: the text arrives, and is checked at its end
 *   message.c      the text and the header fields that are added and dropped
 *   body.c         mail for mailboxes here: the body is written while the checks run
 *   incoming.c     from other servers: verification; forward.c: forwarding by aliases
 *   outgoing.c     submission: the header is completed, the authors are checked, it is signed
 *   commit.c       into the mailboxes (deliver.c) or into the queue, and only then 250
 *   transaction.c  a transaction's refusal after its text, and the beginning of the next
 *
 * The table in main.c has the checks of each stage. */
#ifndef POSTBUS_SMTPD_SMTPD_H
#define POSTBUS_SMTPD_SMTPD_H

#include <stdatomic.h>

#include "libcommon/base/arena.h"
#include "libcommon/codec/deliver.h"
#include "libcommon/codec/envelope.h"
#include "libcommon/codec/events.h"
#include "libcommon/codec/resolve.h"
#include "libcommon/codec/verify.h"
#include "libcommon/mail/domain.h"
#include "libcommon/net/stream.h"
#include "libcommon/service/clients.h"
#include "libcommon/service/life.h"
#include "libcommon/service/logins.h"
#include "libcommon/service/scram.h"
#include "libcommon/service/service.h"
#include "libcommon/store/blob.h"
#include "libcommon/store/queue.h"
#include "libcommon/trust/dkim/body_hash.h"
#include "libcommon/trust/srs/srs.h"
#include "services/smtpd/limits.h"
#include "services/smtpd/parse.h"
#include "services/smtpd/stage.h"

enum smtp_port { PORT_MX, PORT_SUBMISSION, PORT_SUBMISSIONS };

/* Shared by the workers of the process: settings and counters. */
struct smtpd_process {
    size_t message_max, memory_max;
    int64_t command_s, login_s, session_s, data_s; /* deadlines (deadline.c) */
    int64_t rate_min;                              /* bytes a second */
    struct clients *clients;
    _Atomic size_t memory; /* bytes of texts and of the copies that are sent to the store */
};

struct resolver;
struct prefetcher;
struct deliverer;
struct body;

/* One worker's smtpd. */
struct smtpd {
    struct worker *worker;
    struct smtpd_process *process;
    check_fn *const (*checks)[STAGE_CHECKS_MAX + 1]; /* of each stage; NULL ends them */
    struct session *sessions;                        /* a list, for draining and counting */
    size_t count;
    bool stopping; /* freed with the last session */
    struct logins *logins;
    struct resolver *resolver;
    struct prefetcher *prefetcher;
    struct deliverer *deliverer;
    struct queue_ids ids;
    char *srs_secret; /* NULL: none, nothing is rewritten */
    struct srs_keys srs;
};

struct rcpt {
    struct rcpt *next;
    struct slice address; /* the address of delivery: an account's own address, or a remote one */
    const char *user;     /* NULL: remote */
    const char *orcpt, *notify;
    const char *via;     /* the hosted domain whose alias forwards the message to this address;
                            NULL: none */
    const char *from;    /* its reverse-path; NULL: that of the message */
    struct slice folder; /* where it was delivered; p NULL: nowhere yet */
    int64_t uid, modseq;
};

/* The changes of the text's header (message.c). */
struct header_change {
    struct buf on_top; /* fields to add at the top */
    size_t drop_count; /* byte ranges of the header that are dropped */
    struct {
        size_t at, n;
    } *drop; /* of the arena */
    size_t drop_room;
};

/* A mail transaction (RFC 5321 §3.3): from MAIL to the answer to DATA. Its memory is its arena. */
struct transaction {
    struct arena *arena;
    bool has_from;
    struct slice from;
    bool smtputf8, require_tls;
    enum envelope_body body;
    struct slice ret, envid;
    struct rcpt *rcpts, *last_rcpt;
    size_t rcpt_count;    /* in the list */
    size_t rcpt_accepted; /* RCPT commands answered 250 */
    const char *folder;   /* of a verdict; NULL: the session's */
    const char *hold;     /* the same */

    /* DATA and BDAT */
    char id[ULID_BYTES];
    struct buf text; /* its first MESSAGE_ROOM bytes are left free for header fields */
    size_t memory;   /* what is counted for it in smtpd_process.memory */
    struct smtp_text scan;
    bool too_big, no_memory, header_seen;
    int64_t data_since_us;
    uint64_t data_bytes; /* that arrived since then */
    size_t body_at, body_hashed_to;
    size_t hash_count;
    struct body_hash_kind hash_kinds[BODY_HASHES_MAX + 1]; /* those of the signatures, and that of
                                                              our seal */
    struct body_hash *hashes[BODY_HASHES_MAX + 1];
    unsigned char digests[BODY_HASHES_MAX + 1][BODY_HASH_BYTES];
    uint64_t hashed[BODY_HASHES_MAX + 1];
    bool chunking;
    size_t chunk_left;
    bool chunk_last;

    /* the end stage */
    struct header_change change;
    char message_id[256];
    struct body *written;          /* the body is being written, or is written; NULL: it is not */
    struct verify_reply *verified; /* the verifier's results; NULL: it was not asked */
    bool announced;                /* the worker to which the message was announced is asked */
    const char *sealed;            /* the domain of the ARC seal that was added; NULL: none */
    struct {
        size_t count, next;
        struct mail_address *list; /* whose owner is still to be asked for */
        const char *domain;        /* that signs */
    } authors;
};

/* The kind of a recipient's address as an SRS address: see forward.c. */
enum forward_return { RETURN_NONE, RETURN_TAKEN, RETURN_WITH_SENDER, RETURN_FORGED, RETURN_EXPIRED };

/* A RCPT that is not answered yet. Its texts are of the transaction's arena. */
struct rcpt_command {
    struct rcpt_command *next;
    struct checking checking;
    struct slice address;
    const char *orcpt, *notify, *via;
    enum forward_return return_path;
    struct resolved *resolved; /* accounts' answer */
};

enum session_mode {
    MODE_COMMAND,
    MODE_DATA,
    MODE_BDAT,
    MODE_AUTH_PLAIN,
    MODE_AUTH_USER,
    MODE_AUTH_PASSWORD,
    MODE_AUTH_SCRAM
};

typedef void stage_done_fn(struct session *s, const struct verdict *v);
struct commit;

struct session {
    struct smtpd *smtpd;
    struct session *next, *previous;
    struct life life;
    struct stream *stream; /* NULL: gone */
    char ip[64];
    int ip_port;
    bool counted; /* in clients */
    enum smtp_port port;
    enum session_mode mode;
    bool tls_ready; /* a handshake has ended */
    bool closing;   /* the last reply is written */

    /* pending work, before which no further command is executed */
    struct checking checking;
    stage_done_fn *then;          /* called after the stage in `checking`; NULL: no stage is
                                     checked */
    struct rcpt_command *pending; /* RCPT commands that are not answered, in order */
    size_t pending_count;
    struct commit *commit;
    struct buf parked; /* a command line that waits for the pending RCPTs before it */
    enum { PARKED_NONE, PARKED_LINE, PARKED_TOO_LONG } parked_kind;

    const char *folder; /* of a verdict before MAIL; NULL: INBOX */
    const char *hold;   /* of a verdict before MAIL; NULL: not held */
    int errors, auth_failures, prefetches;
    char *helo;
    bool esmtp;
    char *user, *login; /* logged in: the user's id and address */
    struct login validity;
    struct buf auth_user, auth_password;
    struct scram scram; /* the running exchange of AUTH SCRAM-SHA-256 */
    enum { SCRAM_STEP_NONE, SCRAM_STEP_FIRST, SCRAM_STEP_FINAL, SCRAM_STEP_LAST } scram_step; /* its next message */
    int64_t scram_asked_us;
    struct buf scram_answer; /* ours to it, in base 64 */
    struct transaction t;

    struct event *clock; /* deadline.c */
    int64_t connected_us, since_us, clock_us;
};

/* connection.c */
void session_accept(struct smtpd *s, evutil_socket_t fd, const struct sockaddr *client, enum smtp_port port);
/* The connection is closed, and the session freed when nothing holds it any more. */
void session_end(struct session *s);
/* At a worker's stop: the last one frees d. */
void smtpd_free(struct smtpd *d);

/* session.c */
bool session_is_submission(const struct session *s);
void session_reply(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A refused command: counts it, and closes the session after too many. */
void session_refuse(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void session_refuse_verdict(struct session *s, const struct verdict *v);
/* Sends the last reply; the session ends in its loop. */
void session_close(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Stores the folder and the hold of a verdict: for the message or, before MAIL, for all messages of
 * the session. */
void session_keep_verdict(struct session *s, const struct checking *c);
/* Checks a stage; done() is called from the session's loop at its end. */
void session_check(struct session *s, enum stage stage, stage_done_fn *done);

/* deadline.c: how long a client may take.
 *   a command line      POSTBUS_SMTP_COMMAND_TIME from the reply before it to its end
 *   the login           POSTBUS_SMTP_LOGIN_TIME from the connection to a successful AUTH
 *                       (submission)
 *   a text              POSTBUS_SMTP_DATA_TIME, and a second for each POSTBUS_SMTP_RATE_MIN bytes
 *                       of it that arrived
 *   a session           POSTBUS_SMTP_SESSION_TIME from the connection; a text that is arriving may
 *                       be finished
 * While a service is waited for, none counts. */
void deadline_start(struct session *s);
/* Sets the timer to the next deadline. */
void deadline_update(struct session *s);

/* cmd_hello.c */
void cmd_ehlo(struct session *s, struct slice argument, bool esmtp);
void cmd_starttls(struct session *s, struct slice argument);
/* cmd_auth.c */
void cmd_auth(struct session *s, struct slice argument);
void auth_line(struct session *s, struct slice line);
/* cmd_mail.c */
void cmd_mail(struct session *s, struct slice argument);
/* Whether v is xtext of at most max bytes (RFC 3461 §4). */
bool is_xtext(struct slice v, size_t max);
/* cmd_rcpt.c: RCPT commands are looked up concurrently and answered in order. */
void cmd_rcpt(struct session *s, struct slice argument);
/* Continues the pending ones, and answers those at the front whose checks are complete. */
void rcpts_step(struct session *s);
void rcpts_free(struct session *s);

/* resolve.c: a short-lived cache of the answers of accounts. account.changed removes the names that
 * it concerns, and all are removed when such events may have been lost (bus_follow); in any case
 * they expire after RESOLVE_KEEP_S. Only positive answers are
 * cached, so that a cached answer never leads to a refusal. */
enum { RESOLVE_KEEP_S = 30, RESOLVE_NAMES_MAX = 10000 };
struct resolver *resolver_create(struct smtpd *d);
void resolver_destroy(struct resolver *r);
struct resolved {
    int uses;
    enum resolve_kind kind;
    size_t count;
    struct {
        const char *address, *user; /* user NULL: at another site */
    } at[];
};
/* Reads an answer of accounts.resolve; NULL: it is malformed. The caller releases it. */
struct resolved *resolved_read(struct slice reply);
void resolved_release(struct resolved *x); /* NULL is allowed */
/* Sends accounts.resolve for an address, or asks whether it belongs to the login. */
void ask_resolve(struct checking *c, struct slice address, check_answer_fn *answer);
void ask_owner(struct checking *c, struct slice address, check_answer_fn *answer);
/* Whether the answer to ask_owner is yes; a yes is cached. */
bool owner_answer(struct checking *c, struct slice reply, struct slice address);
/* The answer of accounts.resolve about an address; NULL: not known. The caller releases it. */
struct resolved *resolver_find(struct resolver *r, struct slice address);
/* The number of change events. An answer that was requested at an earlier mark is not cached. */
uint64_t resolver_mark(const struct resolver *r);
void resolver_keep(struct resolver *r, uint64_t mark, struct slice address, struct resolved *answer);
/* Something of a domain changed. An account's change (account: its local part) concerns its own
 * name, a change of anything else (NULL) the whole domain; and either may concern names that lead
 * on to others. */
void resolver_forget(struct resolver *r, const char *domain, const char *account);
/* Whether accounts said that an address belongs to a user. */
bool resolver_owns(struct resolver *r, const char *user, struct slice address);

/* incoming.c: announces the message of another server to the verifier, which asks for the DNS
 * records of its sender while the message arrives (verifier.prefetch). */
struct prefetcher *prefetcher_create(struct smtpd *d);
void prefetcher_destroy(struct prefetcher *x); /* NULL is allowed */
void prefetch_sender(struct session *s);

/* forward.c */
void forward_configure(struct smtpd *d);
/* The hosted domain whose alias leads to a remote recipient, in the arena; NULL: this is a
 * submission, not forwarding. */
const char *forward_via(struct session *s, struct slice rcpt);
/* The first such domain of the message's recipients; NULL: nothing is forwarded. */
const char *forward_domain(const struct session *s);
/* Reads a recipient's address: our SRS addresses are for reports on mail that we forwarded.
 * RETURN_TAKEN: *address is now that mail's sender. */
enum forward_return forward_return(struct session *s, struct slice *address);
/* Whether the From address may be forged according to the verifier: then our name must not
 * authenticate it. */
bool forward_is_unproven(const struct verify_reply *v);
/* Whether such a message with a null reverse-path would be authenticated by the mail host's name
 * alone. */
bool forward_greeting_proves(const struct session *s, const struct verify_reply *v);
/* Sets the reverse-path of recipients to whom the message is forwarded. */
void forward_rewrite(struct session *s, const struct verify_reply *v);

/* data.c */
void cmd_data(struct session *s, struct slice argument);
void cmd_bdat(struct session *s, struct slice argument);
/* Reads the input that has arrived; false when more is needed. */
bool data_take(struct session *s);

/* message.c: the text is contiguous, with room before it, so that header fields are added and
 * dropped without moving the body. */
enum { MESSAGE_ROOM = 16 * 1024 };
void message_begin(struct session *s);
/* Counts the present memory of the text: false, and t->no_memory, when the process exceeds its
 * limit. */
bool message_count(struct session *s);
/* As it arrived. */
struct slice message_text(const struct transaction *t);
struct slice message_header(const struct transaction *t);
void message_put_on_top(struct transaction *t, struct slice fields);
void message_drop(struct transaction *t, size_t at, size_t n);
/* Drops every field of this name. */
void message_drop_fields(struct transaction *t, const char *name);
/* The header as it is sent on, without the added fields. */
void message_kept_header(struct transaction *t, struct buf *out);
/* The fields that are added before the received text, of the arena. */
struct slice message_prefix(struct session *s);
/* The whole message as it is sent on; the received text is not available after this. */
struct slice message_finish(struct session *s);

/* transaction.c */
/* The next message may follow. */
void transaction_reset(struct session *s);
/* Refuses the message and publishes the event. */
void message_refuse(struct session *s, int code, const char *enhanced, const char *reason);
/* The recipients as events tell them, of the arena. */
struct mail_event_rcpt *message_event_rcpts(const struct transaction *t);

/* outgoing.c: reads From and Sender (RFC 5322 §3.6.2) into t->authors: the addresses whose owner is
 * still to be checked, and the signing domain. Each author must belong to the login; if From has
 * several, it is enough that the Sender does. NULL, or the fault. */
const char *outgoing_authors(struct transaction *t, struct slice header);

/* body.c */
#define SMTP_ATTEMPT "smtpd" /* of a message id, there is no other attempt of smtpd's */
enum { BODY_COPIES = 2 /* copies of the text: compressed, and in the command to Redis */ };
/* A body is begun by check_early_write() (stage.h), unless a recipient has no mailbox here, the text
 * is larger than BODY_EARLY_MAX, or there is no memory.
 *
 * Takes b: done is called with the answer to the write, at once if it has arrived. The references
 * are the caller's then. */
void body_wait(struct body *b, blob_done_fn *done, void *ctx);
/* Takes b: the body is not needed and is released, when its write is answered. done (NULL is
 * allowed): with the error of the write or else of the release; 0: there is no such body any more.
 * It may be called at once. */
void body_release(struct body *b, blob_done_fn *done, void *ctx);
/* Whether all recipients have a mailbox here. */
bool body_is_for_mailboxes(const struct session *s);
/* The references of all recipients, of the arena. */
struct slice *body_refs(const struct session *s, struct arena *arena, size_t *count);

/* commit.c */
void commit_begin(struct session *s);
/* Answers the client at the end; false: it is still running. */
bool commit_step(struct session *s);

/* deliver.c: sends mailbox.deliver. Messages that are ready in one turn of the loop share a
 * request. */
struct delivery {
    struct delivery *next;
    const struct envelope *envelope; /* all recipients have a mailbox here */
    struct slice listing;            /* of mailbox_listing_build */
    const char *attempt;
    /* outcomes: of each recipient, from the reply of mailbox.deliver; NULL: unknown (valid during
     * done) */
    void (*done)(void *ctx, const struct deliver_outcome *const outcomes[]);
    void *ctx;
};
struct deliverer *deliverer_create(struct smtpd *d);
void deliverer_destroy(struct deliverer *x);
/* d belongs to the caller and must be valid until done(). */
void deliver(struct deliverer *x, struct delivery *d);

/* trace.c: pure text. */
void trace_received(const struct session *s, struct buf *out);
/* The client for events; valid as long as the session and its connection. */
struct mail_event_client trace_client(const struct session *s);

extern struct metric smtpd_connections, smtpd_accepted, smtpd_delivered, smtpd_refused, smtpd_deferred, smtpd_bytes;

#endif
