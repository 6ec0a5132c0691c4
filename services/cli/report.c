/* postbus report …: received and sent reports, through the API; and reports in files, without a
 * running site. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "libcommon/base/member.h"
#include "libcommon/mail/domain.h"
#include "libcommon/report/report_read.h"
#include "services/cli/cli.h"

enum { FILE_BYTES_MAX = 64 << 20 };

static const char *day(json_int_t seconds, char out[16]) {
    time_t at = (time_t)seconds;
    struct tm t;
    if (!seconds || !gmtime_r(&at, &t) || !strftime(out, 16, "%Y-%m-%d", &t)) return "-";
    return out;
}

static json_int_t number_of(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

static int list(struct cli *c) {
    static const char *const kinds[] = {"dmarc", "tls", "failures", "unreadable"};
    const char *kind = c->count ? c->words[0] : "dmarc";
    struct buf path = {0};
    json_t *answer, *each;
    size_t i;
    bool known = false;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) known = known || strcmp(kind, kinds[k]) == 0;
    if (!known) {
        fprintf(stderr, "postbus: there are no reports of the kind %s: dmarc, tls, failures, unreadable\n", kind);
        return CLI_USAGE;
    }
    buf_printf(&path, "/api/v1/reports/%s", kind);
    if (c->count > 1) {
        buf_add_str(&path, "?domain=");
        api_add(&path, c->words[1]);
    }
    api_add_page(c, &path, c->count > 1);
    int failed = api_call(c, "GET", buf_str(&path), NULL, &answer);
    if (!failed && !print_json(c, answer)) {
        json_array_foreach(json_object_get(answer, "reports"), i, each) {
            char begin[16];
            const char *org = member_text(each, "org"), *reason = member_text(each, "reason");
            printf("%s\t%s\t%s\t%s\t", member_text(each, "id"), day(number_of(each, "begin"), begin),
                   member_text(each, "domain"), *org ? org : member_text(each, "from"));
            if (*reason)
                printf("%s\n", reason);
            else
                printf("%lld passed, %lld failed\n", number_of(each, "passed"), number_of(each, "failed"));
        }
        print_next(answer);
    }
    json_decref(answer);
    buf_free(&path);
    return failed;
}

/* Printing a report */

static void print_dmarc(const json_t *report) {
    const json_t *policy = json_object_get(report, "policy");
    json_t *each;
    size_t i;
    char begin[16], end[16];
    printf("DMARC report of %s (%s) about %s, %s to %s, policy %s\n", member_text(report, "org"),
           member_text(report, "report_id"), member_text(policy, "domain"), day(number_of(report, "begin"), begin),
           day(number_of(report, "end"), end), member_text(policy, "p"));
    json_array_foreach(json_object_get(report, "records"), i, each)
        printf("%8lld  %-40s  from %-30s  dkim %-4s  spf %-4s  %s\n", number_of(each, "count"),
               member_text(each, "source_ip"), member_text(each, "header_from"), member_text(each, "dkim"),
               member_text(each, "spf"), member_text(each, "disposition"));
    if (number_of(report, "records_cut")) printf("and %lld records more\n", number_of(report, "records_cut"));
}

static void print_tls(const json_t *report) {
    const json_t *range = json_object_get(report, "date-range");
    json_t *each, *detail;
    size_t i, k;
    printf("TLS report of %s (%s), %s to %s\n", member_text(report, "organization-name"),
           member_text(report, "report-id"), member_text(range, "start-datetime"), member_text(range, "end-datetime"));
    json_array_foreach(json_object_get(report, "policies"), i, each) {
        const json_t *policy = json_object_get(each, "policy"), *summary = json_object_get(each, "summary");
        printf("%s, policy %s: %lld succeeded, %lld failed\n", member_text(policy, "policy-domain"),
               member_text(policy, "policy-type"), number_of(summary, "total-successful-session-count"),
               number_of(summary, "total-failure-session-count"));
        json_array_foreach(json_object_get(each, "failure-details"), k, detail)
            printf("%8lld  %-28s  %s [%s]  %s\n", number_of(detail, "failed-session-count"),
                   member_text(detail, "result-type"), member_text(detail, "receiving-mx-hostname"),
                   member_text(detail, "receiving-ip"), member_text(detail, "failure-reason-code"));
    }
}

static void print_failure(const json_t *report) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)report, name, value) {
        if (json_is_string(value) && strcmp(name, "header") != 0) printf("%-24s %s\n", name, json_string_value(value));
        if (json_is_integer(value)) printf("%-24s %lld\n", name, json_integer_value(value));
    }
    printf("\n%s", member_text(report, "header"));
}

static void print_report(const char *kind, const json_t *report) {
    if (strcmp(kind, "dmarc") == 0)
        print_dmarc(report);
    else if (strcmp(kind, "tls") == 0)
        print_tls(report);
    else
        print_failure(report);
}

static int show(struct cli *c) {
    static const char *const kinds[] = {"dmarc", "tls", "failures", "unreadable"};
    const char *kind = c->words[0];
    struct buf path = {0};
    json_t *answer = NULL;
    bool known = false;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) known = known || strcmp(kind, kinds[k]) == 0;
    if (!known) {
        fprintf(stderr, "postbus: there are no reports of the kind %s: dmarc, tls, failures, unreadable\n", kind);
        return CLI_USAGE;
    }
    buf_printf(&path, "/api/v1/reports/%s/", kind);
    api_add(&path, c->words[1]);
    int failed = api_call(c, "GET", buf_str(&path), NULL, &answer);
    if (!failed && !print_json(c, answer)) {
        printf("received %s from %s, DMARC of that mail: %s\n", member_text(answer, "received"),
               member_text(answer, "from"),
               *member_text(answer, "authenticated") ? member_text(answer, "authenticated") : "not known");
        if (json_is_object(json_object_get(answer, "report")))
            print_report(kind, json_object_get(answer, "report"));
        else
            printf("unreadable: %s\n", member_text(answer, "reason"));
    }
    json_decref(answer);
    buf_free(&path);
    return failed;
}

static int summary(struct cli *c) {
    struct buf path = {0};
    json_t *answer, *each;
    size_t i;
    buf_add_str(&path, "/api/v1/reports/summary?domain=");
    api_add(&path, c->words[0]);
    if (c->count > 1) {
        buf_add_str(&path, "&days=");
        api_add(&path, c->words[1]);
    }
    int failed = api_call(c, "GET", buf_str(&path), NULL, &answer);
    if (!failed && !print_json(c, answer)) {
        printf("%s, %lld days: %lld messages, %lld passed, %lld failed\n", member_text(answer, "domain"),
               number_of(answer, "days"), number_of(answer, "messages"), number_of(answer, "passed"),
               number_of(answer, "failed"));
        json_array_foreach(json_object_get(answer, "sources"), i, each) {
            const char *ip = member_text(each, "source_ip");
            printf("%8lld  %-40s  %lld passed (dkim %lld, spf %lld), %lld failed, %lld quarantined, %lld rejected\n",
                   number_of(each, "messages"), *ip ? ip : "(others)", number_of(each, "passed"),
                   number_of(each, "dkim_passed"), number_of(each, "spf_passed"), number_of(each, "failed"),
                   number_of(each, "quarantined"), number_of(each, "rejected"));
        }
    }
    json_decref(answer);
    buf_free(&path);
    return failed;
}

static int sent(struct cli *c) {
    struct buf path = {0};
    json_t *answer, *each;
    size_t i;
    buf_add_str(&path, "/api/v1/reports/sent");
    api_add_page(c, &path, false);
    int failed = api_call(c, "GET", buf_str(&path), NULL, &answer);
    if (!failed && !print_json(c, answer)) {
        json_array_foreach(json_object_get(answer, "sent"), i, each) {
            char begin[16];
            const char *reason = member_text(each, "reason");
            printf("%s\t%s\t%s\t%s\t%s\t%s%s%s\n", member_text(each, "id"), day(number_of(each, "begin"), begin),
                   member_text(each, "kind"), member_text(each, "domain"), member_text(each, "to"),
                   member_text(each, "result"), *reason ? ": " : "", reason);
        }
        print_next(answer);
    }
    json_decref(answer);
    buf_free(&path);
    return failed;
}

/* A file */

static int read_bytes(const char *path, struct buf *out) {
    FILE *f = fopen(strcmp(path, "-") == 0 ? "/dev/stdin" : path, "rbe");
    if (!f) {
        fprintf(stderr, "postbus: %s: %s\n", path, strerror(errno));
        return -1;
    }
    while (!feof(f) && !ferror(f) && out->n <= FILE_BYTES_MAX)
        out->n += fread(buf_reserve(out, 1 << 16), 1, 1 << 16, f);
    bool whole = feof(f) && !ferror(f);
    fclose(f);
    if (!whole) fprintf(stderr, "postbus: %s: cannot be read completely, or is larger than 64 MiB\n", path);
    return whole ? 0 : -1;
}

/* Converts line ends of a stored mail to CRLF; an archive is never changed. */
static void with_crlf(const struct buf *in, struct buf *out) {
    for (size_t i = 0; i < in->n; i++) {
        if (in->data[i] == '\n' && (!i || in->data[i - 1] != '\r')) buf_add_char(out, '\r');
        buf_add_char(out, in->data[i]);
    }
}

static int read_file(struct cli *c) {
    struct buf bytes = {0}, mail = {0};
    struct report_read r;
    if (read_bytes(c->words[0], &bytes) != 0) {
        buf_free(&bytes);
        return CLI_FAILED;
    }
    report_read_file(buf_slice(&bytes), &r);
    if (!r.report) {
        char why[sizeof r.why];
        memcpy(why, r.why, sizeof why);
        with_crlf(&bytes, &mail);
        report_read_file(buf_slice(&mail), &r);
        if (!r.report) memcpy(r.why, why, sizeof why);
    }
    const char *kind = report_kind_text(r.kind);
    if (c->json) {
        json_t *o = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I}", "kind", kind, "domain", r.domain, "begin",
                              (json_int_t)r.begin, "end", (json_int_t)r.end, "passed", r.passed, "failed", r.failed);
        json_object_set(o, "report", r.report ? r.report : json_null());
        if (!r.report) json_object_set_new(o, "reason", json_string(r.why));
        print_json(c, o);
        json_decref(o);
    } else if (r.report) {
        print_report(kind, r.report);
    } else {
        fprintf(stderr, "postbus: %s: %s\n", c->words[0], r.why);
    }
    int status = r.report ? CLI_OK : CLI_FAILED;
    report_read_free(&r);
    buf_free(&bytes);
    buf_free(&mail);
    return status;
}

const struct command report_commands[] = {
    {"report", "list", "[KIND [DOMAIN]]", "reports received: dmarc, tls, failures, unreadable", 0, 2, list},
    {"report", "show", "KIND ID", "one report", 2, 2, show},
    {"report", "summary", "DOMAIN [DAYS]", "the sources of a domain's mail in DMARC reports", 1, 2, summary},
    {"report", "sent", "", "reports sent to other sites", 0, 0, sent},
    {"report", "read", "FILE", "a report in a file: XML, JSON, gzip, zip or a mail", 1, 1, read_file},
    {0},
};
