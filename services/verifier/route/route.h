/* What route.c (the steps of a route) and route_hosts.c (what is said of each host) share. */
#ifndef POSTBUS_VERIFIER_ROUTE_H
#define POSTBUS_VERIFIER_ROUTE_H

#include "libcommon/mail/domain.h"
#include "services/verifier/dns/lookup.h"
#include "services/verifier/verifier.h"

enum { TLSA_BASES_MAX = 2 };

struct host {
    struct slice name;
    unsigned preference;
    bool secure, aliased; /* its addresses and the way to them; it is an alias whose end is not secure: whether the
                             alias itself is, is asked */
    struct slice bases[TLSA_BASES_MAX]; /* TLSA base domains to look at, in this order; empty: none */
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
    struct slice canonical, tls_rpt_name; /* canonical: where the domain's aliases end */
    bool mx_secure, implicit;
    size_t count;
    struct host hosts[ROUTE_HOSTS_MAX];
    const char *unusable; /* why a host was left out */
    bool dns_done, sts_done, answered;
    json_t *reply, *policy, *policy_failure;
};

/* Asks for the addresses of all hosts. */
void route_ask_addresses(struct route *r);
/* Judges the addresses; where a host's alias leads out of what is secure, asks whether the alias itself is secure. */
void route_ask_aliases(struct route *r);
/* Asks for the TLSA records of hosts that may have some. */
void route_ask_tlsa(struct route *r);
/* The host's part of the reply; NULL when it cannot be used: then r->unusable says why, and what a TLS report would say
 * of it (RFC 8460 §4.3.2) is added to left_out. */
json_t *route_host_reply(struct route *r, const struct host *h, json_t *left_out);
/* "MX of a.test: SERVFAIL", in the route's arena. */
char *route_reason(struct route *r, const char *what, struct slice name, const struct answer *a);

#endif
