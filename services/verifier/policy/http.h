/* HTTPS GET on the worker's loop, for MTA-STS policies (RFC 8461 §3.3): libcurl's multi interface
 * driven by libevent. The server's certificate is always checked (PKIX and name); redirections are
 * not followed; no proxy is used; the system's resolver is not used, because the caller gives the
 * addresses. */
#ifndef POSTBUS_VERIFIER_HTTP_H
#define POSTBUS_VERIFIER_HTTP_H

#include <event2/event.h>

#include <stdbool.h>

#include "libcommon/base/slice.h"

struct http;

enum { HTTP_BODY_MAX = 64 * 1024, HTTP_TIMEOUT_MS = 10000, HTTP_IN_FLIGHT_MAX = 256 };

/* ca_file: NULL or "": the system's CAs. private_destinations: hosts may have addresses that are
 * not public. */
struct http *http_create(struct event_base *base, const char *ca_file, bool private_destinations);
/* Running fetches end without a callback. */
void http_destroy(struct http *h);

struct http_answer {
    int status;               /* the HTTP status code, or 0 when there was no complete answer */
    bool untrusted;           /* of status 0: the server's certificate is not to be trusted, or
                                 names another host */
    bool busy;                /* of status 0: no request was sent, because too many fetches are
                                 running */
    struct slice body;        /* at most HTTP_BODY_MAX bytes, valid during the call */
    const char *content_type; /* "" when there was none */
    const char *reason;       /* of status 0, in words */
};
typedef void http_done_fn(void *ctx, const struct http_answer *answer);

/* Gets https://<host><path> from one of addresses ("192.0.2.1,2001:db8::1", tried in turn by
 * libcurl), at this port (0: 443). done is called exactly once and never before this returns. */
void http_get(struct http *h, const char *host, int port, const char *addresses, const char *path, http_done_fn *done,
              void *ctx);

#endif
