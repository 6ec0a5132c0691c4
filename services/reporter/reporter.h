/* reporter: counts facts about other domains' mail and TLS and sends them reports each day (RFC
 * 9990, RFC 8460); reads, stores and shows the reports that other sites send about hosted domains.
 *
 * The way of a fact:
 *   intake.c        reads events from JetStream, and acknowledges each when its row is in the store
 *   fact.c          makes rows from an event
 *   store/report    counts each row once
 *   sender.c        closes periods, and sends their buckets one after another
 *   document.c      makes the report of a bucket
 *   outgoing.c      sends it to each address of the policy
 *   destination.c   checks whether the address permits reports (organization.c)
 *   https.c         posts a TLS report
 *   letter.c        signs a mail and puts it into the queue
 * Failure reports (RFC 9991) are sent immediately: failure.c. Received reports: incoming.c.
 * Requests of the API: requests.c.
 *
 * Bounds (docs/laws.md, law 7), and the effect when one is reached; those of the store are in
 * report.lua, those of formats in libcommon/report:
 *   facts at once            INTAKE_BATCH; the stream keeps the rest
 *   reports at once          one a replica; the others wait for it
 *   addresses of a policy    REPORT_URIS_MAX; further ones are ignored
 *   failure reports          FAILURES_AN_HOUR a domain, FAILURES_AT_ONCE at a time; more are not
 *                            sent
 *   incoming reports at once INCOMING_MAX a worker, then `busy`, and delivery tries again */
#ifndef POSTBUS_REPORTER_H
#define POSTBUS_REPORTER_H

#include "libcommon/base/arena.h"
#include "libcommon/base/ulid.h"
#include "libcommon/mail/domain.h"
#include "libcommon/report/report_uri.h"
#include "libcommon/service/service.h"
#include "libcommon/store/report.h"

enum {
    INTAKE_BATCH = 100,
    FAILURES_AN_HOUR = 10,
    FAILURES_AT_ONCE = 32,
    INCOMING_MAX = 8,
    REQUESTS_MAX = 256,
    LIST_MAX = 1000,
    SUMMARY_DAYS_MAX = 400,
    SUMMARY_SOURCES_MAX = 1000,
    ASK_MS = 15000,
    LEASE_SECONDS = 600,         /* longer than all waits under it together: DNS, signatures, HTTPS,
                                    each at its limit */
    GIVE_UP_SECONDS = 3 * 86400, /* when DNS, the signer or the queue do not answer for this time,
                                    the report is given up */
    HTTPS_RETRY_SECONDS = 86400, /* RFC 8460 §5.4: attempts within a day */
    HTTPS_TIMEOUT_SECONDS = 30,
    RETRY_FIRST_SECONDS = 60, /* first pause of a postponed report */
    RETRY_LAST_SECONDS = 3600,
};

struct intake;
struct sender;

struct settings {
    int64_t interval, delay; /* seconds: length of a period; from its end until its reports are
                                sent */
    const char *from;        /* address of our reports */
    char from_domain[DOMAIN_BYTES];
    const char *submitter; /* this site's name in them */
    const char *org;
    bool failures;             /* send failure reports */
    bool private_destinations; /* reports may be posted to addresses that are not public */
    const char *ca_file;
    int64_t keep_days;
};

struct reporter {
    struct worker *worker;
    struct settings settings;
    struct intake *intake;            /* NULL: this worker has none (one for each replica is enough) */
    struct sender *sender;            /* likewise */
    char token[ULID_BYTES];           /* lease token for this worker's buckets */
    int requests, incoming, failures; /* that are running */
    bool fetching, sending;           /* intake.c fetches or counts a batch; sender.c is at work */
    bool draining;
};

/* work.c: while draining: tells the service when no work is left. */
void reporter_check_drained(struct reporter *r);
/* A message id that is the same for the same text: a ULID with this time. */
void report_ulid(int64_t ms, const char *text, char out[ULID_BYTES]);
/* The time of a ULID, in milliseconds. */
int64_t ulid_ms(const char *ulid);

/* intake.c */
void intake_start(struct reporter *r);
void intake_stop(struct reporter *r);
/* All events before this time (wall seconds) are counted; 0: unknown at present. */
int64_t intake_known_until(const struct reporter *r);

/* sender.c */
void sender_start(struct reporter *r);
void sender_stop(struct reporter *r);

/* document.c: the JSON of a bucket's report (a new reference); NULL when it has no rows. report_id:
 * the report's id. messages: the number of messages. */
json_t *document_dmarc(const struct settings *s, const struct report_due *due, const char *report_id,
                       json_int_t *messages);
json_t *document_tls(const struct settings *s, const struct report_due *due, const char *report_id,
                     json_int_t *sessions);

/* outgoing.c: sends one bucket's reports and ends it in the store; due is copied. done is called
 * once, at the end of this attempt. */
void outgoing_start(struct reporter *r, const struct report_due *due, void (*done)(void *ctx), void *ctx);

/* destination.c: whether reports about a domain may go to this host (RFC 9990 §4, RFC 9991 §5).
 * tag: "rua" or "ruf". */
enum destination { DESTINATION_OK, DESTINATION_REFUSED, DESTINATION_UNKNOWN };
/* instead: another address on that host, set by its owner; "" for none. done is never called before
 * this returns. */
typedef void destination_fn(void *ctx, enum destination answer, const char *instead);
void destination_check(struct reporter *r, const char *policy_domain, const struct report_uri *uri, const char *tag,
                       destination_fn *done, void *ctx);

/* organization.c: whether two domains have the same organizational domain, by the DNS tree walk
 * (RFC 9989 §4.10). done is never called before this returns. */
enum organizations { ORGANIZATIONS_SAME, ORGANIZATIONS_DIFFERENT, ORGANIZATIONS_UNKNOWN };
typedef void organization_fn(void *ctx, enum organizations answer);
void organization_compare(struct reporter *r, const char *a, const char *b, organization_fn *done, void *ctx);

/* letter.c: a mail of this site on its way into the queue. */
struct letter;
enum letter_state {
    LETTER_READY,
    LETTER_TEMPORARY,
    LETTER_NOBODY
}; /* NOBODY: the address is at a hosted domain and does not exist */
typedef void letter_fn(void *ctx, struct letter *l, enum letter_state state);
/* Signs text (ownership is taken) and looks up its recipient. Nothing is stored yet. done is never
 * called before this returns; the caller owns the letter. */
void letter_prepare(struct reporter *r, const char *id, const char *to, struct buf *text, letter_fn *done, void *ctx);
/* Commits the letter to the queue; destroys it. error: 0 or enum store_error. */
void letter_commit(struct letter *l, void (*done)(void *ctx, int error), void *ctx);
void letter_destroy(struct letter *l); /* NULL is allowed */

/* https.c: POSTs to an https URI (RFC 8460 §5.4) on a pool thread. status: the HTTP status, 0 with
 * a reason when there was none. */
typedef void https_fn(void *ctx, int status, const char *reason);
void https_post(struct reporter *r, const char *url, const char *type, struct slice body, https_fn *done, void *ctx);

/* failure.c: sends failure reports of this message, if its policy asks for them and they are
 * permitted. */
void failure_consider(struct reporter *r, const char *id, const json_t *data, bool refused);

/* incoming.c, requests.c: serve their verbs. */
void incoming_serve(struct reporter *r);
void requests_serve(struct reporter *r);

extern struct metric reporter_counted, reporter_late, reporter_sent, reporter_refused, reporter_kept,
    reporter_unreadable;

#endif
