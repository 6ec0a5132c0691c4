/* Makes the report from the counted rows of a bucket. */
#include <stdio.h>

#include "libcommon/report/tls_report.h"
#include "services/reporter/reporter.h"

/* Reads one row of the store; NULL for "+" and for damaged rows. */
static json_t *load_row(const char *text) { return strcmp(text, "+") == 0 ? NULL : json_loads(text, 0, NULL); }

json_t *document_dmarc(const struct settings *s, const struct report_due *due, const char *report_id,
                       json_int_t *messages) {
    json_t *records = json_array(), *count, *policy = json_deep_copy(json_object_get(due->policy, "published"));
    const char *row;
    json_int_t lost = 0;
    *messages = 0;
    json_object_foreach((json_t *)(uintptr_t)due->rows, row, count) {
        json_t *record = load_row(row);
        *messages += json_integer_value(count);
        if (record) {
            json_object_set(record, "count", count);
            json_array_append_new(records, record);
        } else {
            lost += json_integer_value(count);
        }
    }
    if (!json_is_object(policy)) {
        json_decref(policy);
        policy = json_object();
    }
    json_object_del(policy, "rua");
    json_object_del(policy, "ruf");
    json_object_set_new(policy, "domain", json_string(due->domain));
    json_t *report = json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:s,s:o,s:o}", "version", "1.0", "org", s->org, "email",
                               s->from, "report_id", report_id, "begin", (json_int_t)due->start, "end",
                               (json_int_t)due->end - 1, "generator", "Postbus", "policy", policy, "records", records);
    if (lost) {
        char text[128];
        snprintf(text, sizeof text, "%lld further messages came from sources that are not counted separately",
                 (long long)lost);
        json_object_set_new(report, "errors", json_pack("[s]", text));
    }
    if (json_array_size(records)) return report;
    json_decref(report);
    return NULL;
}

/* Finds or adds the entry for this policy. */
static json_t *entry_of(json_t *policies, const json_t *policy) {
    size_t i;
    json_t *each;
    json_array_foreach(policies, i, each) if (json_equal(json_object_get(each, "policy"), policy)) return each;
    json_array_append_new(policies, json_pack("{s:O,s:{s:i,s:i},s:[]}", "policy", policy, "summary",
                                              "total-successful-session-count", 0, "total-failure-session-count", 0,
                                              "failure-details"));
    return json_array_get(policies, json_array_size(policies) - 1);
}

static void add_count(json_t *object, const char *name, json_int_t more) {
    json_object_set_new(object, name, json_integer(json_integer_value(json_object_get(object, name)) + more));
}

json_t *document_tls(const struct settings *s, const struct report_due *due, const char *report_id,
                     json_int_t *sessions) {
    char begin[TLS_REPORT_TIME_BYTES], end[TLS_REPORT_TIME_BYTES];
    json_t *policies = json_array(), *count, *each;
    const char *text;
    size_t i;
    *sessions = 0;
    json_object_foreach((json_t *)(uintptr_t)due->rows, text, count) {
        json_t *row = load_row(text), *failure = json_object_get(row, "failure");
        json_int_t n = json_integer_value(count);
        *sessions += n;
        if (row && json_array_size(policies) < TLS_REPORT_POLICIES_MAX) {
            json_t *entry = entry_of(policies, json_object_get(row, "policy"));
            add_count(json_object_get(entry, "summary"),
                      failure ? "total-failure-session-count" : "total-successful-session-count", n);
            if (failure) {
                json_object_set_new(failure, "failed-session-count", json_integer(n));
                json_array_append(json_object_get(entry, "failure-details"), failure);
            }
        }
        json_decref(row);
    }
    json_array_foreach(policies, i, each) if (json_array_size(json_object_get(each, "failure-details")) == 0)
        json_object_del(each, "failure-details");
    json_t *report =
        json_pack("{s:s,s:{s:s,s:s},s:s,s:s,s:o}", "organization-name", s->org, "date-range", "start-datetime",
                  tls_report_time(due->start, begin), "end-datetime", tls_report_time(due->end - 1, end),
                  "contact-info", s->from, "report-id", report_id, "policies", policies);
    if (json_array_size(policies)) return report;
    json_decref(report);
    return NULL;
}
