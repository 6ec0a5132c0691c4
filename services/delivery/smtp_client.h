/* One SMTP session as a client (RFC 5321): greeting, EHLO, STARTTLS, one transaction with pipelining (RFC 2920), QUIT.
 * Tells once how it ended. */
#ifndef POSTBUS_DELIVERY_SMTP_CLIENT_H
#define POSTBUS_DELIVERY_SMTP_CLIENT_H

#include <event2/event.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "libcommon/base/buf.h"
#include "services/delivery/limits.h"
#include "services/delivery/tls_demand.h"

struct smtp_job {
    struct event_base *base;
    SSL_CTX *tls_context;
    struct sockaddr_storage address;
    socklen_t address_n;
    const char *hello; /* our name */
    const struct tls_demand *tls;
    struct slice from;
    bool smtputf8, eight_bit, require_tls;
    const char *ret, *envid;
    size_t rcpt_count;
    const struct smtp_rcpt {
        const char *address, *orcpt, *notify;
    } *rcpts;
    struct slice message; /* stays until done */
};

enum smtp_end {
    SMTP_END_DONE,          /* the server answered for each recipient: see replies */
    SMTP_END_NOT_NOW,       /* this server cannot be used now: another may; reason says why */
    SMTP_END_TLS_FAILED,    /* STARTTLS or the handshake failed */
    SMTP_END_NO_SMTPUTF8,   /* the message needs it and the server has it not */
    SMTP_END_NO_REQUIRETLS, /* the sender asks for it and the server has it not (RFC 8689 §4.2.1): another may */
    SMTP_END_TOO_LARGE,     /* SIZE says it will not be taken (RFC 1870 §6.1) */
};

/* How far the session came with TLS. */
enum smtp_tls_reached {
    SMTP_TLS_UNTRIED,     /* it ended before */
    SMTP_TLS_NOT_OFFERED, /* or refused when it was asked for */
    SMTP_TLS_BROKEN,      /* the handshake failed; verify_code tells whether for the certificate */
    SMTP_TLS_STANDS,
};

struct smtp_rcpt_result {
    int code;
    char enhanced[16];
    char *text; /* for people */
};

struct smtp_result {
    enum smtp_end end;
    int code; /* of a refusal before any recipient, or 0 */
    char enhanced[16];
    const char *reason;
    const struct smtp_rcpt_result *rcpts;                /* SMTP_END_DONE */
    const char *tls_version, *tls_cipher, *tls_verified; /* "" , "none" … */
    const char *local_ip, *peer_name;                    /* peer_name: as the greeting says, "" */
    enum smtp_tls_reached tls_reached;
    long verify_code; /* X509_V_…: how the certificate was found, also where nobody asked; X509_V_OK before a handshake
                       */
    bool dsn;         /* the server takes DSN parameters */
};

typedef void smtp_done_fn(void *ctx, const struct smtp_result *result);

struct smtp_client;
/* job and all it points to must stay until done is called (once, never before this returns). */
struct smtp_client *smtp_client_start(const struct smtp_job *job, smtp_done_fn *done, void *ctx);
/* Ends it without a call. */
void smtp_client_cancel(struct smtp_client *c);

#endif
