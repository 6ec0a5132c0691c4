/* Reports, counted, sent and received: the only door to {rep} keys, used by the reporter service alone. Everything a
 * callback is given is valid during the call.
 *
 * What is to be reported is counted in buckets, one a kind, period and domain. A period is closed once and for all;
 * then its buckets are sent. */
#ifndef POSTBUS_STORE_REPORT_H
#define POSTBUS_STORE_REPORT_H

#include <jansson.h>

#include "libcommon/store/redis.h"

enum {
    REPORT_ROWS_ONCE_MAX = 16, /* rows of one fact */
    REPORT_SUMMARY_MAX = 400,  /* rows that one report adds to its domain's summary; the rest is counted in a row "+" */
    REPORT_SENT_ONCE_MAX = 8,  /* reports of one bucket: one a destination */
    REPORT_BODY_MAX = 1 << 20, /* bytes of a kept report's JSON */
};

/* What a Function answered, or an error with 0. */
typedef void report_number_fn(void *ctx, int error, long long value);

/* A fact: what it is about and when it was. */
struct report_fact {
    const char *kind; /* "dmarc" or "tls" */
    const char *domain;
    const char *id;                /* the same when the fact comes again */
    int64_t time, start, end, due; /* seconds: of the fact, of its period, and when the report is to be sent */
    const char *policy;            /* JSON, the last one seen stays */
};
enum { REPORT_COUNTED = 1, REPORT_SEEN = 0, REPORT_LATE = -1, REPORT_NO_ROOM = -2 };
/* Counts rows (JSON texts) of a fact once, however often it comes. value: one of the above. Bounds are in report.lua.
 */
void report_count(struct redis *r, const struct report_fact *fact, size_t count, const struct slice rows[],
                  report_number_fn *done, void *ctx);
/* No fact before `time` is counted any more. */
void report_close(struct redis *r, int64_t time, report_number_fn *done, void *ctx);

/* A bucket that is to be sent now: rows is {"<row>":count}, with "+" for facts that found no room. bucket NULL: there
 * is none. */
struct report_due {
    const char *bucket, *kind, *domain;
    int64_t start, end, due;
    const json_t *policy, *rows;
};
typedef void report_take_fn(void *ctx, int error, const struct report_due *due);
/* Takes one for lease_s seconds; then, if it was not sent, another may take it. token: of this taker alone. */
void report_take(struct redis *r, int64_t now, int lease_s, const char *token, report_take_fn *done, void *ctx);

/* A bucket that was taken is to be taken again at this time (seconds). STORE_LOST: another has taken it since. */
void report_put_off(struct redis *r, const char *bucket, const char *token, int64_t until, report_number_fn *done,
                    void *ctx);

/* What became of a bucket's reports: one a destination. id: a ULID that sorts them; what: JSON, stolen. */
struct report_outcome {
    const char *id;
    json_t *what;
};
/* Ends a bucket, whoever has it now: what was sent was sent, and its ids are the same from whichever replica. value 0:
 * somebody did so before, and nothing is changed. */
void report_sent(struct redis *r, const char *bucket, size_t count, const struct report_outcome outcomes[],
                 report_number_fn *done, void *ctx);

/* Whether one more failure report may be sent for this message: at most `most` a domain and hour, once a message. */
void report_failure_allowed(struct redis *r, const char *domain, int64_t hour, const char *id, int most,
                            report_number_fn *done, void *ctx);
/* what: stolen. */
void report_failure_sent(struct redis *r, const char *id, json_t *what, report_number_fn *done, void *ctx);
/* This message is a TLS report of ours: how it travels is not reported (RFC 8460 §3). To be answered before it is sent.
 */
void report_own(struct redis *r, const char *id, int64_t now, report_number_fn *done, void *ctx);

/* A report that came in. */
struct report_kept {
    struct slice id;           /* of the mail that brought it */
    const char *kind, *domain; /* domain "" where none is known */
    const char *digest;        /* the same for the same report in another mail; "" when it cannot be told */
    const json_t *listing;     /* what lists show */
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
/* Drops what is older: reports with an id below first_id, summaries of days before first_day, at most `most` of each.
 * value: how many. */
void report_forget(struct redis *r, const char *first_id, int64_t first_day, int most, report_number_fn *done,
                   void *ctx);

/* NULL with an error. */
typedef void report_json_fn(void *ctx, int error, json_t *value);
/* A page of listings, newest first: an array of them, each with its "id". domain and after: "" for none. */
void report_list(struct redis *r, const char *kind, const char *domain, const char *after, size_t limit,
                 report_json_fn *done, void *ctx);
void report_sent_list(struct redis *r, const char *after, size_t limit, report_json_fn *done, void *ctx);
/* One report: its listing with "kind" and "report" (null when unreadable). STORE_NOT_FOUND. */
void report_read(struct redis *r, const char *id, report_json_fn *done, void *ctx);
/* {"<row>":messages} of a domain from one day to another, both included. */
void report_summary(struct redis *r, const char *domain, int64_t first_day, int64_t last_day, report_json_fn *done,
                    void *ctx);

#endif
