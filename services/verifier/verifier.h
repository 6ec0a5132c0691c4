/* Shared by the folders of the verifier: one worker's resolver, caches and bounds. Private to this
 * service.
 *
 * Bounds (docs/laws.md, law 7), and the reply when one is reached:
 *   a DNS name                10 s, then the question fails                       (resolver.h)
 *   questions in flight       2,048 a worker, 256 about one registered domain, then they fail:
 *                             tempfail
 *   requests in flight        VERIFIER_REQUESTS_MAX a worker, then `busy`
 *   a route                   ROUTE_TIMEOUT_MS, ROUTE_HOSTS_MAX hosts, ROUTE_ADDRESSES_MAX
 *                             addresses a host; more are left out
 *   a verification            VERIFY_ROUNDS_MAX rounds, VERIFY_QUESTIONS_MAX DNS questions,
 *                             VERIFY_TIMEOUT_MS; then tempfail 451
 *   a prefetch                PREFETCH_ROUNDS_MAX rounds, PREFETCH_QUESTIONS_MAX questions; none is
 *                             begun while PREFETCH_REQUESTS_MAX requests are in flight
 *   a check of a domain's DNS CHECK_QUESTIONS_MAX questions, CHECK_RUNS_MAX at a time a worker,
 *   then `busy`                  (check.h)
 *   a publication             RECORDS_MAX records, DNS_SERVER_TIMEOUT_SECONDS an answer; tried
 *                             again after 15 s                (publish.h)
 *   an MTA-STS policy         64 KiB, 10 s; then the domain has none (RFC 8461 §3.3), or an older
 *                             one applies
 *   policies being fetched    256 a worker, then tempfail */
#ifndef POSTBUS_VERIFIER_H
#define POSTBUS_VERIFIER_H

#include "libcommon/base/ulid.h"
#include "libcommon/service/service.h"
#include "libcommon/trust/verdict/trust.h"
#include "services/verifier/dns/resolver.h"
#include "services/verifier/policy/http.h"

enum {
    VERIFIER_REQUESTS_MAX = 4096,
    ROUTE_TIMEOUT_MS = 25000,
    ROUTE_HOSTS_MAX = 16,
    ROUTE_ADDRESSES_MAX = 8,
    VERIFY_TIMEOUT_MS = 25000,
    VERIFY_ROUNDS_MAX = 64,
    VERIFY_QUESTIONS_MAX = 200,
    PREFETCH_REQUESTS_MAX = VERIFIER_REQUESTS_MAX / 4,
    PREFETCH_ROUNDS_MAX = 12,
    PREFETCH_QUESTIONS_MAX = 40,
};

struct rotator;
struct sts_cache;
struct key_cache;
struct publisher;
struct domain_ask;
struct check;
struct dns_monitor;
struct publish_servers;

struct verifier {
    struct worker *worker;
    struct resolver *resolver;
    struct http *http;
    struct sts_cache *sts;
    struct key_cache *keys;
    struct rotator *rotator;           /* NULL: this worker does not do roll-overs */
    struct dkim_key_cache *trust_keys; /* other domains' public keys, parsed */
    struct arena *settings;            /* memory of the policy */
    const struct trust_policy *policy; /* actions for messages that fail verification */
    struct publisher *publisher;       /* NULL: this worker does not publish */
    struct publish_servers *servers;   /* servers to which zones are published; NULL: none */
    struct domain_ask *domain_asks;    /* under way, see domain_records.h */
    struct check *checks;              /* under way, see check.h */
    int check_count;
    struct dns_monitor *monitor; /* NULL: this worker does no regular checks */
    int requests;                /* in flight */
    char at[ULID_BYTES];         /* this worker's name in verifier.at.<at>.verify */
    bool draining;
};

/* Whether a further request may begin; otherwise the call was refused with `busy`. Each request
 * that began ends with verifier_end. */
bool verifier_begin(struct verifier *v, struct bus_call *call);
void verifier_end(struct verifier *v);

/* Each serves its verbs on the worker's bus. */
void route_serve(struct verifier *v);
void prefetch_serve(struct verifier *v);
void verify_serve(struct verifier *v); /* after prefetch_serve */
void explain_serve(struct verifier *v);
void seal_serve(struct verifier *v);
void sign_serve(struct verifier *v);
void records_serve(struct verifier *v);
void check_serve(struct verifier *v);
void txt_serve(struct verifier *v);

/* Verifies a message and answers call with the verdict; with input->explain also with the steps.
 * The request has begun (verifier_begin) and ends here. arena has everything that input points to,
 * and is destroyed at the end. The site's own fields of input (name, time, policy) are set here. */
void verify_start(struct verifier *v, struct bus_call *call, struct arena *arena, const struct trust_input *input);

#endif
