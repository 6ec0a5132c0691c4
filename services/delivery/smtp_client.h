/* One SMTP session as a client (RFC 5321): greeting, EHLO, STARTTLS, one transaction with pipelining (RFC 2920), QUIT. Tells once how it ended. */
#ifndef POSTBUS_DELIVERY_SMTP_CLIENT_H
#define POSTBUS_DELIVERY_SMTP_CLIENT_H

#include <event2/event.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "libcommon/base/buf.h"
#include "services/delivery/limits.h"

/* How far TLS is asked for. */
enum smtp_tls {
    SMTP_TLS_MAY,   /* opportunistic (RFC 7435): used when offered, not verified */
    SMTP_TLS_NEVER, /* after a handshake failed under SMTP_TLS_MAY */
    SMTP_TLS_PKIX,  /* MTA-STS enforce or REQUIRETLS: verified for the host's name, or no delivery */
    SMTP_TLS_DANE,  /* TLSA records: verified by them, or no delivery (RFC 7672) */
};

struct smtp_tlsa {
    unsigned char usage, selector, matching;
    struct slice data;
};

struct smtp_job {
    struct event_base *base;
    SSL_CTX *tls_context;
    struct sockaddr_storage address;
    socklen_t address_n;
    const char *host;  /* the MX's name, for SNI and verification */
    const char *hello; /* our name */
    enum smtp_tls tls;
    size_t tlsa_count;
    const struct smtp_tlsa *tlsa;
    const char *dane_base; /* the TLSA base domain */
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
    SMTP_END_DONE,        /* the server answered for each recipient: see replies */
    SMTP_END_NOT_NOW,     /* this server cannot be used now: another may; reason says why */
    SMTP_END_TLS_FAILED,  /* STARTTLS or the handshake failed */
    SMTP_END_NO_SMTPUTF8, /* the message needs it and the server has it not */
    SMTP_END_TOO_LARGE,   /* SIZE says it will not be taken (RFC 1870 §6.1) */
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
    const char *local_ip;
    bool dsn; /* the server takes DSN parameters */
};

typedef void smtp_done_fn(void *ctx, const struct smtp_result *result);

struct smtp_client;
/* job and all it points to must stay until done is called (once, never before this returns). */
struct smtp_client *smtp_client_start(const struct smtp_job *job, smtp_done_fn *done, void *ctx);
/* Ends it without a call. */
void smtp_client_cancel(struct smtp_client *c);

#endif
