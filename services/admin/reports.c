/* /api/v1/reports: reports of other sites about hosted domains (DMARC, TLS, failures), received
 * mails that could not be read, and reports that were sent. */
#include "libcommon/base/ulid.h"
#include "services/admin/admin.h"

static void on_object(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_answer(r, 200, json_deep_copy(reply));
}

static void list(struct request *r, const char *kind) {
    const char *domain = request_query(r, "domain");
    json_t *ask = json_pack("{s:s}", "kind", kind);
    if (domain && *domain) json_object_set_new(ask, "domain", json_string(domain));
    if (request_page(r, ask)) request_ask(r, "reporter.list", ask, ASK_MS, on_object);
}

void reports_dmarc(struct request *r) { list(r, "dmarc"); }
void reports_tls(struct request *r) { list(r, "tls"); }
void reports_failures(struct request *r) { list(r, "failures"); }
void reports_unreadable(struct request *r) { list(r, "unreadable"); }

/* A report is found only under its own kind. */
static void on_report(struct request *r, int error, const json_t *reply) {
    static const char prefix[] = "/api/v1/reports/";
    const char *kind = json_string_value(json_object_get(reply, "kind"));
    if (!error && (!kind || strncmp(r->path + sizeof prefix - 1, kind, strlen(kind)) != 0))
        request_problem(r, 404, "there is no such report of this kind");
    else
        on_object(r, error, reply);
}

void report_get(struct request *r) {
    if (ulid_is_valid(slice_of(r->part)))
        request_ask(r, "reporter.get", json_pack("{s:s}", "id", r->part), ASK_MS, on_report);
    else
        request_problem(r, 404, "there is no such report: ids have 26 characters, as in the lists");
}

void reports_summary(struct request *r) {
    const char *domain = request_query(r, "domain"), *days = request_query(r, "days");
    uint64_t n = 30;
    if (!domain || !*domain) {
        request_problem(r, 400, "name the domain: ?domain=example.org");
    } else if (days && (slice_to_u64(slice_of(days), 400, &n) != 0 || n == 0)) {
        request_problem(r, 400, "days is a number from 1 to 400");
    } else {
        json_t *name = json_string(domain);
        request_ask(r, "reporter.summary",
                    json_pack("{s:o,s:I}", "domain", name ? name : json_string("?"), "days", (json_int_t)n), ASK_MS,
                    on_object);
    }
}

void reports_sent(struct request *r) {
    json_t *ask = json_object();
    if (request_page(r, ask)) request_ask(r, "reporter.sent", ask, ASK_MS, on_object);
}
