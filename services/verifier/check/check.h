/* What the world sees of a hosted domain's DNS, held against what it should publish (check_judge.h): asked from
 * outside, through a validating resolver of its own with an empty cache, never at our own authoritative server. On
 * request (verifier.dns.check), and by itself every POSTBUS_DNS_CHECK_SECONDS.
 *
 *   check_run.c      one check: questions, SPF of our addresses, the MTA-STS policy, findings
 *   check_request.c  verifier.dns.check
 *   monitor.c        every domain again and again, by one replica; v:check:<domain>, dns.broken and dns.mended */
#ifndef POSTBUS_VERIFIER_CHECK_H
#define POSTBUS_VERIFIER_CHECK_H

#include "services/verifier/verifier.h"

enum { CHECK_QUESTIONS_MAX = 200, CHECK_RUNS_MAX = 16, CHECK_ROUNDS_MAX = 32, CHECK_EVERY_SECONDS = 3600 };

/* result: {"domain","checked","ok","dnssec","wrong","unknown","findings":[…]}, a reference of the callee's; NULL with
 * code "not_found", "unavailable" or "busy". */
typedef void check_done_fn(void *ctx, json_t *result, const char *code);
/* Checks domain (A-labels). done comes exactly once, maybe before this returns (busy). At most CHECK_RUNS_MAX at a time
 * in a worker. */
void check_run(struct verifier *v, const char *domain, check_done_fn *done, void *ctx);
/* The worker ends: what runs ends with "unavailable". After domain_records_stop and http_destroy. */
void check_stop(struct verifier *v);

/* Keeps a result in Redis and says dns.broken or dns.mended when it changed. The result is borrowed. */
void check_keep(struct verifier *v, const json_t *result);
/* The result kept last: NULL for none. done comes exactly once. kept: borrowed. */
typedef void check_kept_fn(void *ctx, const json_t *kept);
void check_kept(struct verifier *v, const char *domain, check_kept_fn *done, void *ctx);

/* NULL when POSTBUS_DNS_CHECK_SECONDS is 0. */
struct dns_monitor *dns_monitor_create(struct verifier *v);
void dns_monitor_destroy(struct dns_monitor *m); /* NULL is allowed */

#endif
