/* A look at one TCP door of the site, as a client sees it: its name resolves, it takes a connection, and it says what
 * its protocol says first. Nothing waits: every probe ends by itself within its time, from the loop. */
#ifndef POSTBUS_ADMIN_PROBE_H
#define POSTBUS_ADMIN_PROBE_H

#include <event2/dns.h>
#include <event2/event.h>
#include <openssl/ssl.h>
#include <stdbool.h>

enum probe_kind {
    PROBE_GREETING, /* SMTP, IMAP or POP3: the greeting that tells the server ready */
    PROBE_TLS,      /* the same after a TLS handshake; the certificate must not have ended */
    PROBE_SOA,      /* DNS: an SOA record in the answer (RFC 1035 §4.2.2) */
};

struct probe_target {
    enum probe_kind kind;
    const char *host; /* a name or an address */
    int port;
    const char *server_name; /* PROBE_TLS: the name to ask for; PROBE_SOA: the zone, NULL: any answer will do */
};

/* why NULL: the door works. */
typedef void probe_done_fn(void *ctx, const char *why);
/* target and what it points at stay until done, which comes exactly once and never before this returns. tls: a client's
 * context. */
void probe_start(struct event_base *base, struct evdns_base *dns, SSL_CTX *tls, const struct probe_target *target,
                 int timeout_ms, probe_done_fn *done, void *ctx);

#endif
