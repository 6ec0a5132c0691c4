/* The counters of failed logins, which all replicas share (login.lua): by account and network, by
 * account from networks that it never logged in from, and by network over all accounts. An allowed
 * attempt is counted until its end is reported; an attempt whose end is not reported counts as
 * abandoned after 30 s. Used only by the accounts service. */
#ifndef POSTBUS_STORE_LOGIN_H
#define POSTBUS_STORE_LOGIN_H

#include "libcommon/store/redis.h"

enum { LOGIN_NETWORK_BYTES = 64 };

/* The networks by which a client is counted. narrow: an IPv4 address, or the /64 of an IPv6 one,
 * which is what one customer has; wide: the /48 of an IPv6 one, which is what a large customer has;
 * for IPv4 it is as narrow, and not counted. */
struct login_network {
    char narrow[LOGIN_NETWORK_BYTES], wide[LOGIN_NETWORK_BYTES];
    bool has_wide;
};
void login_network_of(const char *ip, struct login_network *out);

/* The number of failures within the window that each counter permits before attempts have to
 * wait. */
struct login_limits {
    int window_seconds, pair, account, network, wide;
};

/* text: the account as it is stored, empty when the address has none. name: the local part that the
 * counters go by. wait_ms: how long this network has to wait with this account, 0: not at all.
 * known_ms: when a login of the account from the network last succeeded, in ms since 1970, 0:
 * never. Changes nothing. */
typedef void login_look_fn(void *ctx, int error, struct slice text, struct slice name, int64_t wait_ms,
                           int64_t known_ms);
void login_look(struct redis *r, const char *domain, struct slice local, const struct login_network *n,
                login_look_fn *done, void *ctx);

/* wait_ms: 0: the attempt is allowed and counted; -1: the allowed number is running already: ask
 * again soon; otherwise an attempt is allowed after this many ms. */
typedef void login_begin_fn(void *ctx, int error, int64_t wait_ms);
void login_begin(struct redis *r, const char *domain, struct slice name, const struct login_network *n, const char *try,
                 const struct login_limits *l, login_begin_fn *done, void *ctx);
void login_network_begin(struct redis *r, const struct login_network *n, const char *try, const struct login_limits *l,
                         login_begin_fn *done, void *ctx);

enum login_end { LOGIN_RIGHT, LOGIN_WRONG, LOGIN_NOT_LOOKED_AT };
typedef void login_end_fn(void *ctx, int error);
/* For an attempt that login_begin allowed. done may be NULL: an end that cannot be reported is
 * logged. */
void login_finish(struct redis *r, const char *domain, struct slice name, const struct login_network *n,
                  const char *try, enum login_end end, const struct login_limits *l, login_end_fn *done, void *ctx);
void login_network_finish(struct redis *r, const struct login_network *n, const char *try, enum login_end end,
                          const struct login_limits *l, login_end_fn *done, void *ctx);

#endif
