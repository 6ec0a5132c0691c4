#include "libcommon/report/tls_report.h"

#include <stdio.h>
#include <time.h>

#include "libcommon/mail/date.h"

static const char *const detail_texts[] = {"result-type",        "sending-mta-ip", "receiving-mx-hostname",
                                           "receiving-mx-helo",  "receiving-ip",   "additional-information",
                                           "failure-reason-code"};

bool tls_report_is_result(const char *word) {
    static const char *const words[] = {"starttls-not-supported", "certificate-host-mismatch",
                                        "certificate-expired",    "certificate-not-trusted",
                                        "validation-failure",     "tlsa-invalid",
                                        "dnssec-invalid",         "dane-required",
                                        "sts-policy-fetch-error", "sts-policy-invalid",
                                        "sts-webpki-invalid"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], word) == 0) return true;
    return false;
}

/* A text, cut at the bound between characters; NULL when the value is not a text. */
static json_t *text_of(const json_t *value) {
    size_t n = json_string_length(value);
    const char *s = json_string_value(value);
    if (!s) return NULL;
    if (n > TLS_REPORT_TEXT_MAX)
        for (n = TLS_REPORT_TEXT_MAX; n && ((unsigned char)s[n] & 0xc0) == 0x80;) n--;
    return json_stringn(s, n);
}

static void copy_text(json_t *to, const json_t *from, const char *name) {
    json_t *text = text_of(json_object_get(from, name));
    if (text) json_object_set_new(to, name, text);
}

/* A list of texts; a single text counts as a list of one. */
static void copy_list(json_t *to, const json_t *from, const char *name) {
    const json_t *value = json_object_get(from, name);
    json_t *list = json_array(), *each;
    size_t i;
    if (json_is_string(value)) json_array_append_new(list, text_of(value));
    json_array_foreach(value, i, each) {
        json_t *text = i < TLS_REPORT_STRINGS_MAX ? text_of(each) : NULL;
        if (text) json_array_append_new(list, text);
    }
    if (json_array_size(list))
        json_object_set_new(to, name, list);
    else
        json_decref(list);
}

static json_int_t count_of(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    uint64_t n = 0;
    if (json_is_integer(value))
        return json_integer_value(value) < 0           ? 0
               : json_integer_value(value) > INT32_MAX ? INT32_MAX
                                                       : json_integer_value(value);
    if (json_is_string(value) && slice_to_u64(slice_of(json_string_value(value)), INT32_MAX, &n) == 0)
        return (json_int_t)n;
    return 0;
}

static json_t *read_details(const json_t *list) {
    json_t *details = json_array(), *each;
    size_t i;
    json_array_foreach(list, i, each) {
        if (json_array_size(details) == TLS_REPORT_DETAILS_MAX) break;
        if (!json_is_object(each)) continue;
        json_t *detail = json_object();
        for (size_t k = 0; k < sizeof detail_texts / sizeof *detail_texts; k++)
            copy_text(detail, each, detail_texts[k]);
        json_object_set_new(detail, "failed-session-count", json_integer(count_of(each, "failed-session-count")));
        json_array_append_new(details, detail);
    }
    return details;
}

static json_t *read_policy(const json_t *one) {
    const json_t *from = json_object_get(one, "policy"), *summary = json_object_get(one, "summary");
    json_t *policy = json_object(), *details = read_details(json_object_get(one, "failure-details"));
    copy_text(policy, from, "policy-type");
    copy_list(policy, from, "policy-string");
    copy_text(policy, from, "policy-domain");
    copy_list(policy, from, "mx-host");
    json_t *made = json_pack("{s:o,s:{s:I,s:I}}", "policy", policy, "summary", "total-successful-session-count",
                             count_of(summary, "total-successful-session-count"), "total-failure-session-count",
                             count_of(summary, "total-failure-session-count"));
    if (json_array_size(details))
        json_object_set_new(made, "failure-details", details);
    else
        json_decref(details);
    return made;
}

json_t *tls_report_read(struct slice json, char why[160]) {
    json_error_t error;
    json_t *whole = json_loadb(json.p ? json.p : "", json.n, 0, &error);
    json_t *range = json_object_get(whole, "date-range"), *policies = json_array(), *each;
    size_t i;
    why[0] = 0;
    if (!json_is_object(whole)) {
        snprintf(why, 160, "the report is not JSON: %.100s (line %d)", whole ? "it is not an object" : error.text,
                 error.line);
        json_decref(whole);
        json_decref(policies);
        return NULL;
    }
    json_array_foreach(json_object_get(whole, "policies"), i, each) {
        if (json_array_size(policies) == TLS_REPORT_POLICIES_MAX) break;
        if (json_is_object(each)) json_array_append_new(policies, read_policy(each));
    }
    json_t *report = json_pack("{s:{},s:o}", "date-range", "policies", policies);
    copy_text(report, whole, "organization-name");
    copy_text(report, whole, "contact-info");
    copy_text(report, whole, "report-id");
    copy_text(json_object_get(report, "date-range"), range, "start-datetime");
    copy_text(json_object_get(report, "date-range"), range, "end-datetime");
    int64_t begin, end;
    if (tls_report_range(report, &begin, &end) != 0)
        snprintf(why, 160, "the report has no date range");
    else if (!*tls_report_domain(report))
        snprintf(why, 160, "the report does not name the domain of the policy");
    json_decref(whole);
    if (*why) {
        json_decref(report);
        return NULL;
    }
    return report;
}

/* Digits at p as a number; -1 when there is another byte. */
static int digits(const char *p, size_t n) {
    int value = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') return -1;
        value = value * 10 + (p[i] - '0');
    }
    return value;
}

/* RFC 3339 §5.6; a fraction is ignored. 0 or -1. */
static int read_time(const char *text, int64_t *seconds) {
    size_t n = text ? strlen(text) : 0, at = 19;
    if (n < 20 || text[4] != '-' || text[7] != '-' || (text[10] | 0x20) != 't' || text[13] != ':' || text[16] != ':')
        return -1;
    int year = digits(text, 4), month = digits(text + 5, 2), day = digits(text + 8, 2), hour = digits(text + 11, 2),
        minute = digits(text + 14, 2), second = digits(text + 17, 2), zone = 0;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 60)
        return -1;
    if (text[at] == '.')
        for (at++; at < n && text[at] >= '0' && text[at] <= '9';) at++;
    if ((text[at] == '+' || text[at] == '-') && n - at == 6 && digits(text + at + 1, 2) >= 0 &&
        digits(text + at + 4, 2) >= 0)
        zone = (digits(text + at + 1, 2) * 60 + digits(text + at + 4, 2)) * (text[at] == '-' ? -1 : 1);
    else if ((text[at] | 0x20) != 'z' || n - at != 1)
        return -1;
    *seconds = ((date_days(year, month, day) * 24 + hour) * 60 + minute - zone) * 60 + second;
    return 0;
}

int tls_report_range(const json_t *report, int64_t *begin, int64_t *end) {
    const json_t *range = json_object_get(report, "date-range");
    if (read_time(json_string_value(json_object_get(range, "start-datetime")), begin) != 0 ||
        read_time(json_string_value(json_object_get(range, "end-datetime")), end) != 0)
        return -1;
    return *begin <= *end ? 0 : -1;
}

const char *tls_report_domain(const json_t *report) {
    const json_t *first = json_array_get(json_object_get(report, "policies"), 0);
    const char *domain = json_string_value(json_object_get(json_object_get(first, "policy"), "policy-domain"));
    return domain ? domain : "";
}

void tls_report_totals(const json_t *report, json_int_t *succeeded, json_int_t *failed) {
    size_t i;
    json_t *each;
    *succeeded = *failed = 0;
    json_array_foreach(json_object_get(report, "policies"), i, each) {
        *succeeded += count_of(json_object_get(each, "summary"), "total-successful-session-count");
        *failed += count_of(json_object_get(each, "summary"), "total-failure-session-count");
    }
}

const char *tls_report_time(int64_t seconds, char out[TLS_REPORT_TIME_BYTES]) {
    time_t at = (time_t)seconds;
    struct tm t;
    if (!gmtime_r(&at, &t) || !strftime(out, TLS_REPORT_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &t)) out[0] = 0;
    return out;
}
