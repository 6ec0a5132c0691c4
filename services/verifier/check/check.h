/* Compares a hosted domain's DNS, as seen from outside, with the records that it should publish
 * (check_judge.h). The queries go through a validating resolver with an empty cache, never directly
 * to our own authoritative server. Checks run on request (verifier.dns.check) and every
 * POSTBUS_DNS_CHECK_SECONDS.
 *
 *   check_run.c      one check: questions, SPF of our addresses, the MTA-STS policy, findings
 *   check_request.c  verifier.dns.check
 *   monitor.c        regular checks of every domain, by one replica; v:check:<domain>, dns.broken
 *                    and dns.mended */
#ifndef POSTBUS_VERIFIER_CHECK_H
#define POSTBUS_VERIFIER_CHECK_H

#include "services/verifier/verifier.h"

enum { CHECK_QUESTIONS_MAX = 200, CHECK_RUNS_MAX = 16, CHECK_ROUNDS_MAX = 32, CHECK_EVERY_SECONDS = 3600 };

/* result: {"domain","checked","ok","dnssec","wrong","unknown","findings":[…]}, a reference that the
 * callee owns; NULL with code "not_found", "unavailable" or "busy". */
typedef void check_done_fn(void *ctx, json_t *result, const char *code);
/* Checks domain (A-labels). done is called exactly once, possibly before this returns (busy). At
 * most CHECK_RUNS_MAX run at a time in a worker. */
void check_run(struct verifier *v, const char *domain, check_done_fn *done, void *ctx);
/* The worker ends: running checks end with "unavailable". After domain_records_stop and
 * http_destroy. */
void check_stop(struct verifier *v);

/* Stores a result in Redis and publishes dns.broken or dns.mended when it has changed. The result
 * is borrowed. */
void check_keep(struct verifier *v, const json_t *result);
/* The last stored result, or NULL. done is called exactly once. kept: borrowed. */
typedef void check_kept_fn(void *ctx, const json_t *kept);
void check_kept(struct verifier *v, const char *domain, check_kept_fn *done, void *ctx);

/* NULL when POSTBUS_DNS_CHECK_SECONDS is 0. */
struct dns_monitor *dns_monitor_create(struct verifier *v);
void dns_monitor_destroy(struct dns_monitor *m); /* NULL is allowed */

#endif
