/* A check of one TCP listener of the site from a client's view: its name resolves, it accepts a
 * connection, and it sends the first line of its protocol. Nothing blocks: every probe ends within
 * its time limit, from the loop. */
#ifndef POSTBUS_ADMIN_PROBE_H
#define POSTBUS_ADMIN_PROBE_H

#include <event2/dns.h>
#include <event2/event.h>
#include <openssl/ssl.h>
#include <stdbool.h>

enum probe_kind {
    PROBE_GREETING, /* SMTP, IMAP or POP3: the greeting */
    PROBE_TLS,      /* the same after a TLS handshake; the certificate must not have expired */
    PROBE_SOA,      /* DNS: an SOA record in the answer (RFC 1035 §4.2.2) */
};

struct probe_target {
    enum probe_kind kind;
    const char *host; /* a name or an address */
    int port;
    const char *server_name; /* PROBE_TLS: the server name; PROBE_SOA: the zone, NULL: any answer is
                                accepted */
};

/* why NULL: the listener works. */
typedef void probe_done_fn(void *ctx, const char *why);
/* target and its texts must be valid until done, which is called exactly once and never before this
 * returns. tls: a client's context. */
void probe_start(struct event_base *base, struct evdns_base *dns, SSL_CTX *tls, const struct probe_target *target,
                 int timeout_ms, probe_done_fn *done, void *ctx);

#endif
