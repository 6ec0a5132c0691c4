/* What a session is given, and the properties of its connection. */
#ifndef POSTBUS_DELIVERY_SESSION_SETTINGS_H
#define POSTBUS_DELIVERY_SESSION_SETTINGS_H

#include <openssl/ssl.h>

#include "libcommon/service/life.h"
#include "services/delivery/session/body.h"
#include "services/delivery/tls/tls_demand.h"

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

#endif
