/* Shared declarations of route.c (the steps of a route) and route_hosts.c (the result for each
 * host). */
#ifndef POSTBUS_VERIFIER_ROUTE_H
#define POSTBUS_VERIFIER_ROUTE_H

#include "libcommon/mail/domain.h"
#include "services/verifier/dns/lookup.h"
#include "services/verifier/verifier.h"

enum { TLSA_BASES_MAX = 2 };

struct host {
    struct slice name;
    unsigned preference;
    bool secure, aliased;               /* secure: its addresses and the alias chain to them;
                                           aliased: it is an alias whose end is not secure, so a
                                           query tells whether the alias itself is */
    struct slice bases[TLSA_BASES_MAX]; /* TLSA base domains to query, in this order; empty: none */
};

enum route_step { STEP_MX, STEP_ADDRESSES, STEP_ALIASES, STEP_TLSA };

struct route {
    struct verifier *verifier;
    struct bus_call *call;
    struct arena *arena;
    struct lookup *lookup;
    struct event *timer;
    enum route_step step;
    char domain[DOMAIN_BYTES];
    struct slice canonical, tls_rpt_name; /* canonical: the end of the domain's alias chain */
    bool mx_secure, implicit;
    size_t count;
    struct host hosts[ROUTE_HOSTS_MAX];
    const char *unusable; /* why a host was left out */
    bool dns_done, sts_done, answered;
    json_t *reply, *policy, *policy_failure;
};

/* Asks for the addresses of all hosts. */
void route_ask_addresses(struct route *r);
/* Evaluates the addresses; if a host's alias leads to an insecure name, queries whether the alias
 * itself is secure. */
void route_ask_aliases(struct route *r);
/* Asks for the TLSA records of hosts that may have some. */
void route_ask_tlsa(struct route *r);
/* The host's part of the reply; NULL when it cannot be used: then r->unusable has the reason, and
 * the result for a TLS report (RFC 8460 §4.3.2) is added to left_out. */
json_t *route_host_reply(struct route *r, const struct host *h, json_t *left_out);
/* "MX of a.test: SERVFAIL", in the route's arena. */
char *route_reason(struct route *r, const char *what, struct slice name, const struct answer *a);

#endif
