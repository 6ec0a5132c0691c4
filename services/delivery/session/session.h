/* One SMTP session as a client (RFC 5321): greeting, EHLO, STARTTLS, then one transaction after
 * another, QUIT. Events are reported by flags, which the owner reads when it is woken; there are no
 * direct callbacks. */
#ifndef POSTBUS_DELIVERY_SESSION_H
#define POSTBUS_DELIVERY_SESSION_H

#include <openssl/ssl.h>

#include "libcommon/net/stream.h"
#include "libcommon/service/life.h"
#include "services/delivery/session/body.h"
#include "services/delivery/session/reply.h"
#include "services/delivery/session/stuffing.h"
#include "services/delivery/tls/tls_demand.h"
#include "services/delivery/transaction/transaction.h"

enum smtp_end {
    SMTP_END_NONE,          /* it is open, or was closed after it had been open */
    SMTP_END_NOT_NOW,       /* this server cannot be used now, but another may; reason has the
                               cause */
    SMTP_END_TLS_FAILED,    /* STARTTLS or the handshake failed */
    SMTP_END_NO_REQUIRETLS, /* the sender requires it and the server does not offer it (RFC 8689
                               §4.2.1), but another may */
};

/* The TLS state that the session reached. */
enum smtp_tls_reached {
    SMTP_TLS_UNTRIED,     /* it ended before */
    SMTP_TLS_NOT_OFFERED, /* or STARTTLS was refused */
    SMTP_TLS_BROKEN,      /* the handshake failed; verify_code tells whether the certificate was the
                             reason */
    SMTP_TLS_STANDS,
};

/* The properties of the connection, from its opening. */
struct smtp_result {
    enum smtp_end end;
    int code; /* of the reply that ended it, or 0 */
    char enhanced[16];
    const char *reason;
    const char *tls_version, *tls_cipher, *tls_verified; /* "" , "none" … */
    const char *local_ip, *peer_name;                    /* peer_name: as the greeting says, "" */
    enum smtp_tls_reached tls_reached;
    long verify_code; /* X509_V_…: result of the certificate check, also when none is required;
                         X509_V_OK before a handshake */
};

struct session_settings {
    struct event_base *base;
    SSL_CTX *tls_context;
    const char *hello, *host; /* our name; the server's, for outcomes: copied */
    const char *ip;           /* the server's address, for the event */
    int port;
    const struct tls_demand *tls; /* used until the session is open: stays as long */
    bool require_tls;
    struct bodies *bodies;
    struct life *owner; /* woken when the session has opened, failed, ended its transaction, or
                           closed */
};

struct session;
/* stream: connected; the session takes ownership. */
struct session *session_create(const struct session_settings *settings, struct stream *stream);
/* Closes: with QUIT when idle, otherwise without. A running transaction is dropped without an
 * outcome. The session is freed from the loop. */
void session_destroy(struct session *s);

void session_set_owner(struct session *s, struct life *owner);

enum session_state { SESSION_OPENING, SESSION_IDLE, SESSION_BUSY, SESSION_CLOSED };
enum session_state session_state(const struct session *s);
/* Valid as long as the session. */
const struct smtp_result *session_result(const struct session *s);

/* How many recipients one transaction may have here (RFC 9422 LIMITS), and whether MAIL may come
 * again. */
size_t session_rcpts_max(const struct session *s);
/* Begins a transaction on an idle session. Its recipients are settled when they are answered;
 * recipients that the server refused with 452 (too many) are left over. */
void session_begin(struct session *s, struct transaction *t);
/* Once after the state was SESSION_BUSY: the recipients that need another transaction at once, here
 * or on another connection; NULL: none. */
struct transaction *session_left_over(struct session *s);
/* Whether the connection broke while a transaction ran. */
bool session_broke(const struct session *s);
/* The number of transactions that the server has answered since the last call. */
size_t session_take_answered(struct session *s);
/* Whether the server has the whole message and only its answer is missing: such a session is not
 * given up when the process drains. */
bool session_awaits_final_reply(const struct session *s);

#endif
