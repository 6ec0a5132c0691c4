/* Requests of the API: lists of received and sent reports, one report, a domain's summary. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/member.h"
#include "libcommon/report/report_read.h"
#include "services/reporter/reporter.h"

enum { PAGE = 100 };

struct question {
    struct reporter *reporter;
    struct bus_call *call;
    size_t limit;
    const char *field;                                       /* of a page */
    json_t *(*make)(const json_t *value, const json_t *ask); /* NULL: unchanged */
    json_t *ask;
};

static struct question *question_create(struct reporter *r, struct bus_call *call, const json_t *ask) {
    if (r->requests >= REQUESTS_MAX) {
        bus_refuse(call, "busy", "too many requests in flight");
        return NULL;
    }
    struct question *q = memory_alloc(sizeof *q);
    q->reporter = r;
    q->call = call;
    q->ask = json_deep_copy(ask);
    r->requests++;
    return q;
}

static void question_end(struct question *q) {
    struct reporter *r = q->reporter;
    json_decref(q->ask);
    free(q);
    r->requests--;
    reporter_check_drained(r);
}

static void refuse_store(struct question *q, int error) {
    if (error == STORE_NOT_FOUND)
        bus_refuse(q->call, "not_found", "there is no such report");
    else
        bus_refuse(q->call, "unavailable", "the store cannot be reached now");
    question_end(q);
}

/* {"<field>":[…],"next":…} */
static void on_page(void *ctx, int error, json_t *value) {
    struct question *q = ctx;
    if (error) {
        refuse_store(q, error);
        return;
    }
    size_t n = json_array_size(value);
    json_t *next = n && n == q->limit ? json_incref(json_object_get(json_array_get(value, n - 1), "id")) : json_null();
    bus_answer(q->call, json_pack("{s:O,s:o}", q->field, value, "next", next));
    question_end(q);
}

static void on_value(void *ctx, int error, json_t *value) {
    struct question *q = ctx;
    if (error) {
        refuse_store(q, error);
        return;
    }
    bus_answer(q->call, q->make ? q->make(value, q->ask) : json_incref(value));
    question_end(q);
}

static size_t limit_of(const json_t *ask) {
    json_int_t n = json_integer_value(json_object_get(ask, "limit"));
    return n < 1 ? PAGE : n > LIST_MAX ? LIST_MAX : (size_t)n;
}

static bool is_kind(const char *kind) {
    for (int k = REPORT_DMARC; k <= REPORT_UNREADABLE; k++)
        if (strcmp(kind, report_kind_text((enum report_kind)k)) == 0) return true;
    return false;
}

/* The domain of a request in normal form; false after refusing. */
static bool take_domain(struct question *q, bool required, char out[DOMAIN_BYTES]) {
    const char *domain = member_text(q->ask, "domain");
    out[0] = 0;
    if ((!*domain && !required) || domain_normalise(slice_of(domain), out) == 0) return true;
    bus_refuse(q->call, "invalid", "domain is not a domain name");
    question_end(q);
    return false;
}

static bool take_after(struct question *q) {
    const char *after = member_text(q->ask, "after");
    if (!*after || ulid_is_valid(slice_of(after))) return true;
    bus_refuse(q->call, "invalid", "after is not an id of a report");
    question_end(q);
    return false;
}

static void on_list(void *ctx, struct bus_call *call, const json_t *ask) {
    struct question *q = question_create(ctx, call, ask);
    char domain[DOMAIN_BYTES];
    if (!q || !take_domain(q, false, domain) || !take_after(q)) return;
    if (!is_kind(member_text(q->ask, "kind"))) {
        bus_refuse(call, "invalid", "kind is dmarc, tls, failures or unreadable");
        question_end(q);
        return;
    }
    q->limit = limit_of(q->ask);
    q->field = "reports";
    report_list(q->reporter->worker->redis, member_text(q->ask, "kind"), domain, member_text(q->ask, "after"), q->limit,
                on_page, q);
}

static void on_sent(void *ctx, struct bus_call *call, const json_t *ask) {
    struct question *q = question_create(ctx, call, ask);
    if (!q || !take_after(q)) return;
    q->limit = limit_of(q->ask);
    q->field = "sent";
    report_sent_list(q->reporter->worker->redis, member_text(q->ask, "after"), q->limit, on_page, q);
}

static json_t *with_id(const json_t *value, const json_t *ask) {
    json_t *report = json_copy((json_t *)(uintptr_t)value);
    json_object_set(report, "id", json_object_get(ask, "id"));
    return report;
}

static void on_get(void *ctx, struct bus_call *call, const json_t *ask) {
    struct question *q = question_create(ctx, call, ask);
    if (!q) return;
    if (!ulid_is_valid(slice_of(member_text(q->ask, "id")))) {
        bus_refuse(call, "not_found", "there is no such report");
        question_end(q);
        return;
    }
    q->make = with_id;
    report_read(q->reporter->worker->redis, member_text(q->ask, "id"), on_value, q);
}

/* Summary */

static void add(json_t *object, const char *name, json_int_t n) {
    json_object_set_new(object, name, json_integer(json_integer_value(json_object_get(object, name)) + n));
}

/* One row, "<source ip> <dkim> <spf> <disposition>", added to the sums of its source and to the
 * totals. */
static void add_row(json_t *sources, json_t *whole, const char *row, json_int_t n) {
    struct slice words[4] = {{0}}, rest = slice_of(row);
    char ip[80];
    for (int i = 0; i < 3; i++)
        if (!slice_cut(&rest, ' ', &words[i])) break;
    words[3] = rest;
    bool plus = strcmp(row, "+") == 0;
    snprintf(ip, sizeof ip, "%.*s", SLICE_FMT(plus ? SLICE("") : words[0]));
    bool dkim = slice_is(words[1], "pass"), spf = slice_is(words[2], "pass");
    json_t *source = json_object_get(sources, ip);
    if (!source) {
        source = json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "source_ip", ip, "messages", 0, "passed", 0, "failed",
                           0, "dkim_passed", 0, "spf_passed", 0, "quarantined", 0, "rejected", 0);
        json_object_set_new(sources, ip, source);
    }
    json_t *both[] = {source, whole};
    for (int i = 0; i < 2; i++) {
        add(both[i], "messages", n);
        if (plus) continue; /* only the number of these is known */
        add(both[i], dkim || spf ? "passed" : "failed", n);
        if (dkim) add(both[i], "dkim_passed", n);
        if (spf) add(both[i], "spf_passed", n);
        if (slice_is(words[3], "quarantine")) add(both[i], "quarantined", n);
        if (slice_is(words[3], "reject")) add(both[i], "rejected", n);
    }
}

static int by_messages(const void *a, const void *b) {
    json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "messages")),
               y = json_integer_value(json_object_get(*(json_t *const *)b, "messages"));
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The sources with the most messages first. */
static json_t *sorted(json_t *sources) {
    size_t n = json_object_size(sources), i = 0;
    json_t **all = memory_alloc((n + 1) * sizeof *all), *each, *list = json_array();
    const char *name;
    json_object_foreach(sources, name, each) all[i++] = each;
    qsort(all, n, sizeof *all, by_messages);
    for (i = 0; i < n && i < SUMMARY_SOURCES_MAX; i++) json_array_append(list, all[i]);
    free(all);
    return list;
}

static json_t *make_summary(const json_t *rows, const json_t *ask) {
    json_t *sources = json_object(), *n,
           *whole = json_pack("{s:s,s:I,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "domain", member_text(ask, "domain"), "days",
                              json_integer_value(json_object_get(ask, "days")), "messages", 0, "passed", 0, "failed", 0,
                              "dkim_passed", 0, "spf_passed", 0, "quarantined", 0, "rejected", 0);
    const char *row;
    json_object_foreach((json_t *)(uintptr_t)rows, row, n) add_row(sources, whole, row, json_integer_value(n));
    json_object_set_new(whole, "sources", sorted(sources));
    json_decref(sources);
    return whole;
}

static void on_summary(void *ctx, struct bus_call *call, const json_t *ask) {
    struct question *q = question_create(ctx, call, ask);
    char domain[DOMAIN_BYTES];
    if (!q || !take_domain(q, true, domain)) return;
    json_int_t days = json_object_get(q->ask, "days") ? json_integer_value(json_object_get(q->ask, "days")) : 30;
    if (days < 1 || days > SUMMARY_DAYS_MAX) {
        bus_refuse(call, "invalid", "days is a number from 1 to 400");
        question_end(q);
        return;
    }
    json_object_set_new(q->ask, "domain", json_string(domain));
    json_object_set_new(q->ask, "days", json_integer(days));
    int64_t today = clock_wall_ms() / 86400000;
    q->make = make_summary;
    report_summary(q->reporter->worker->redis, domain, today - days + 1, today, on_value, q);
}

void requests_serve(struct reporter *r) {
    bus_serve(r->worker->bus, "list", on_list, r);
    bus_serve(r->worker->bus, "get", on_get, r);
    bus_serve(r->worker->bus, "sent", on_sent, r);
    bus_serve(r->worker->bus, "summary", on_summary, r);
}
