/* Reports, counted, sent and received: the only module that accesses {rep} keys, used only by the
 * reporter service. Everything a callback is given is valid during the call.
 *
 * Facts are counted in buckets, one for each kind, period and domain. A period is closed
 * permanently; then its buckets are sent. */
#ifndef POSTBUS_STORE_REPORT_H
#define POSTBUS_STORE_REPORT_H

#include <jansson.h>

#include "libcommon/store/redis.h"

enum {
    REPORT_ROWS_ONCE_MAX = 16, /* rows of one fact */
    REPORT_SUMMARY_MAX = 400,  /* rows that one report adds to its domain's summary; the rest is
                                  counted in a row "+" */
    REPORT_SENT_ONCE_MAX = 8,  /* reports of one bucket: one for each destination */
    REPORT_BODY_MAX = 1 << 20, /* bytes of a kept report's JSON */
};

/* The answer of a Function, or an error with 0. */
typedef void report_number_fn(void *ctx, int error, long long value);

/* A fact: its object and its time. */
struct report_fact {
    const char *kind; /* "dmarc" or "tls" */
    const char *domain;
    const char *id;                /* the same when the fact is repeated */
    int64_t time, start, end, due; /* seconds: of the fact, of its period, and when the report is to
                                      be sent */
    const char *policy;            /* JSON; the last one is kept */
};
enum { REPORT_COUNTED = 1, REPORT_SEEN = 0, REPORT_LATE = -1, REPORT_NO_ROOM = -2 };
/* Counts the rows (JSON texts) of a fact once, even if it is repeated. value: one of the above.
 * Bounds are in report.lua. */
void report_count(struct redis *r, const struct report_fact *fact, size_t count, const struct slice rows[],
                  report_number_fn *done, void *ctx);
/* No fact before `time` is counted any more. */
void report_close(struct redis *r, int64_t time, report_number_fn *done, void *ctx);

/* A bucket that is to be sent now: rows is {"<row>":count}, with "+" for facts beyond the bound.
 * bucket NULL: there is none. */
struct report_due {
    const char *bucket, *kind, *domain;
    int64_t start, end, due;
    const json_t *policy, *rows;
};
typedef void report_take_fn(void *ctx, int error, const struct report_due *due);
/* Leases one for lease_s seconds; after that, if it was not sent, another worker may take it.
 * token: unique to this worker. */
void report_take(struct redis *r, int64_t now, int lease_s, const char *token, report_take_fn *done, void *ctx);

/* Postpones a leased bucket until this time (seconds). STORE_LOST: another worker has it. */
void report_put_off(struct redis *r, const char *bucket, const char *token, int64_t until, report_number_fn *done,
                    void *ctx);

/* The outcomes of a bucket's reports, one for each destination. id: a ULID that sorts them; what:
 * JSON, ownership is taken. */
struct report_outcome {
    const char *id;
    json_t *what;
};
/* Ends a bucket, also when another worker has it: the reports have been sent, and their ids are the
 * same from every replica. value 0: it had been ended before, and nothing is changed. */
void report_sent(struct redis *r, const char *bucket, size_t count, const struct report_outcome outcomes[],
                 report_number_fn *done, void *ctx);

/* Whether one more failure report may be sent for this message: at most `most` for a domain and
 * hour, one for each message. */
void report_failure_allowed(struct redis *r, const char *domain, int64_t hour, const char *id, int most,
                            report_number_fn *done, void *ctx);
/* what: ownership is taken. */
void report_failure_sent(struct redis *r, const char *id, json_t *what, report_number_fn *done, void *ctx);
/* Records that this message is one of our TLS reports, whose own delivery is not reported (RFC 8460
 * §3). Must be answered before the report is sent. */
void report_own(struct redis *r, const char *id, int64_t now, report_number_fn *done, void *ctx);

/* A received report. */
struct report_kept {
    struct slice id;           /* of the mail that contained it */
    const char *kind, *domain; /* domain "" if unknown */
    const char *digest;        /* the same for the same report in another mail; "" if unknown */
    const json_t *listing;     /* the fields for lists */
    const json_t *report;      /* NULL: unreadable */
    int64_t day;               /* days since 1970, for the summary */
    size_t summary_count;      /* at most REPORT_SUMMARY_MAX */
    const struct report_summary_row {
        const char *row; /* "<source ip> <dkim> <spf> <disposition>" */
        json_int_t messages;
    } *summary;
};
enum { REPORT_KEPT = 1, REPORT_HERE = 0, REPORT_DUPLICATE = 2 };
void report_keep(struct redis *r, const struct report_kept *kept, report_number_fn *done, void *ctx);
/* Removes old data: reports with an id below first_id, summaries of days before first_day, at most
 * `most` of each. value: their number. */
void report_forget(struct redis *r, const char *first_id, int64_t first_day, int most, report_number_fn *done,
                   void *ctx);

/* NULL with an error. */
typedef void report_json_fn(void *ctx, int error, json_t *value);
/* A page of listings, newest first: an array of them, each with its "id". domain and after: "" for
 * none. */
void report_list(struct redis *r, const char *kind, const char *domain, const char *after, size_t limit,
                 report_json_fn *done, void *ctx);
void report_sent_list(struct redis *r, const char *after, size_t limit, report_json_fn *done, void *ctx);
/* One report: its listing with "kind" and "report" (null when unreadable). STORE_NOT_FOUND. */
void report_read(struct redis *r, const char *id, report_json_fn *done, void *ctx);
/* {"<row>":messages} of a domain from one day to another, both included. */
void report_summary(struct redis *r, const char *domain, int64_t first_day, int64_t last_day, report_json_fn *done,
                    void *ctx);

#endif
