/* smtpd: the SMTP server on 25 (other servers), 587 and 465 (submission). A message's way through it, in the order in
 * which it happens: session.c (greeting, commands) → cmd_hello.c → cmd_auth.c → cmd_mail.c (MAIL, RCPT) → data.c (the
 * text arrives) → accept.c (verify or sign, commit, 250). forward.c: what is different when an alias leads elsewhere.
 */
#ifndef POSTBUS_SMTPD_H
#define POSTBUS_SMTPD_H

#include "libcommon/base/arena.h"
#include "libcommon/base/ulid.h"
#include "libcommon/net/stream.h"
#include "libcommon/service/service.h"
#include "libcommon/trust/dkim/body_hash.h"
#include "libcommon/trust/srs/srs.h"
#include "services/smtpd/limits.h"
#include "services/smtpd/parse.h"

enum smtp_port { PORT_MX, PORT_SUBMISSION, PORT_SUBMISSIONS };

/* One worker's smtpd. */
struct smtpd {
    struct worker *worker;
    struct session *sessions; /* a list, for draining and counting */
    size_t count;
    size_t message_max, memory_max, memory_used, per_client_max;
    char *srs_secret; /* NULL: none, nothing is rewritten */
    struct srs_keys srs;
};

struct message;

struct rcpt {
    struct rcpt *next;
    struct slice address; /* as it is delivered to: an account's own address, or a remote one */
    const char *user;     /* NULL: remote */
    const char *orcpt, *notify;
    const char *via;  /* of our domains the one that handed the message on to here; NULL: nobody did */
    const char *from; /* the reverse-path it goes on with; NULL: the message's */
};

/* A mail transaction (RFC 5321 §3.3): from MAIL to the answer to DATA. Its memory is its arena. */
struct transaction {
    struct arena *arena;
    bool has_from;
    struct slice from;
    bool smtputf8, require_tls;
    const char *body, *ret, *envid;
    struct rcpt *rcpts, *last_rcpt;
    size_t rcpt_count;    /* in the list */
    size_t rcpt_accepted; /* RCPT commands answered 250 */

    /* DATA and BDAT */
    char id[ULID_BYTES];
    struct buf text;
    struct smtp_text scan;
    bool too_big, no_memory, header_seen;
    size_t body_at, body_hashed_to;
    size_t hash_count;
    struct body_hash_kind hash_kinds[BODY_HASHES_MAX + 1]; /* the signatures', and what we seal */
    struct body_hash *hashes[BODY_HASHES_MAX + 1];
    unsigned char digests[BODY_HASHES_MAX + 1][BODY_HASH_BYTES];
    uint64_t hashed[BODY_HASHES_MAX + 1];
    bool chunking;
    size_t chunk_left;
    bool chunk_last;
};

enum session_mode { MODE_COMMAND, MODE_DATA, MODE_BDAT, MODE_AUTH_PLAIN, MODE_AUTH_USER, MODE_AUTH_PASSWORD };

struct session {
    struct smtpd *smtpd;
    struct session *next, *previous;
    struct stream *stream;
    enum smtp_port port;
    enum session_mode mode;
    bool busy;              /* waits for a service's answer: no further command is read */
    bool closing;           /* the last reply is written */
    uint64_t ticket;        /* of the request it waits for */
    struct message *asking; /* whose verdict or signature it waits for; freed with the session */
    bool committing;        /* waits for the store: must not be freed before */
    bool gone;              /* the client left while committing */
    int errors, auth_failures;
    char *helo;
    bool esmtp;
    char *user, *login; /* logged in: the user's id and address */
    struct buf auth_user;
    struct transaction t;
};

/* session.c */
void session_accept(struct smtpd *s, evutil_socket_t fd, enum smtp_port port);
void session_reply(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A refused command: counts it, and closes the session after too many. */
void session_refuse(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Sends the last reply and closes. */
void session_close(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A service answered: go on with what the client sent meanwhile. */
void session_continue(struct session *s);
void session_ask(struct session *s, const char *verb, json_t *ask, int timeout_ms, bus_reply_fn *done);
void session_destroy(struct session *s);
void transaction_reset(struct session *s);
bool session_is_submission(const struct session *s);

/* cmd_hello.c */
void cmd_ehlo(struct session *s, struct slice argument, bool esmtp);
void cmd_starttls(struct session *s, struct slice argument);
/* cmd_auth.c */
void cmd_auth(struct session *s, struct slice argument);
void auth_line(struct session *s, struct slice line);
/* cmd_mail.c */
void cmd_mail(struct session *s, struct slice argument);
void cmd_rcpt(struct session *s, struct slice argument);
/* forward.c */
void forward_configure(struct smtpd *d);
/* The domain of ours that a recipient which leads elsewhere is reached through, of the arena; NULL: this is no
 * forwarding but a submission. */
const char *forward_via(struct session *s, struct slice rcpt);
/* The first such domain of the message's recipients; NULL: nothing is handed on. */
const char *forward_domain(const struct session *s);
/* What a recipient's address says: an SRS address of ours is for reports on mail that we handed on. REPORT_TAKEN:
 * *address is now that mail's sender. */
enum forward_report { REPORT_NONE, REPORT_TAKEN, REPORT_WITH_SENDER, REPORT_FORGED, REPORT_EXPIRED };
enum forward_report forward_report(struct session *s, struct slice *address);
/* Whether the verifier's verdict leaves open that the From address is forged: then our name is not lent to it. */
bool forward_is_unproven(const json_t *verdict);
/* Whether such a message, which has no sender, would be proven by the mail host's name alone. */
bool forward_greeting_proves(const struct session *s, const json_t *verdict);
/* Gives the recipients that are handed on their reverse-path. */
void forward_rewrite(struct session *s, const json_t *verdict);
/* data.c */
void cmd_data(struct session *s, struct slice argument);
void cmd_bdat(struct session *s, struct slice argument);
/* Takes what has arrived; false when more is needed. */
bool data_take(struct session *s);
/* accept.c: the text is whole. */
void message_received(struct session *s);
void message_free(struct message *m); /* NULL is allowed */

/* trace.c: pure text. */
void trace_received(const struct session *s, struct buf *out);
/* The mailbox of a From field's first address, e.g. "Ann <a@b.c>" → "a@b.c"; empty when there is none. */
struct slice trace_from_address(struct slice value);
json_t *trace_client(const struct session *s);

extern struct metric smtpd_connections, smtpd_accepted, smtpd_refused, smtpd_deferred, smtpd_bytes;

#endif
