/* /api/v1/domains/…/dns and …/check: the records that a domain should publish, and their check from
 * outside. */
#include "libcommon/base/member.h"
#include "services/admin/admin.h"

static void add_line(struct buf *zone, const char *before, const json_t *record) {
    const char *name = member_text(record, "name");
    buf_printf(zone, "%s%s%s\t%lld\tIN\t%s\t%s\n", before, name, *name && name[strlen(name) - 1] == '.' ? "" : ".",
               json_integer_value(json_object_get(record, "ttl")), member_text(record, "type"),
               member_text(record, "value"));
}

/* Lines of a zone file (RFC 1035 §5). Records of other zones are written as comments. */
static void write_zone(const char *domain, const json_t *reply, struct buf *zone) {
    size_t i;
    const json_t *one, *records = json_object_get(reply, "records");
    bool told = false;
    json_array_foreach(records, i, one) if (!json_is_true(json_object_get(one, "outside"))) add_line(zone, "", one);
    json_array_foreach(records, i, one) {
        if (!json_is_true(json_object_get(one, "outside"))) continue;
        if (!told) buf_add_str(zone, "; for the zones of other domains:\n");
        told = true;
        add_line(zone, "; ", one);
    }
    json_array_foreach(json_object_get(reply, "ds"), i, one) {
        if (i == 0) buf_add_str(zone, "; for the parent's zone, at your registrar (DNSSEC):\n");
        buf_printf(zone, "; %s.\t3600\tIN\tDS\t%s\n", domain, json_string_value(one));
    }
}

static void on_records(struct request *r, int error, const json_t *reply) {
    const char *accept = request_head(r, "Accept");
    if (error) {
        request_problem_bus(r, reply);
        return;
    }
    if (!accept || !strstr(accept, "text/plain")) {
        request_answer(r, 200, json_deep_copy(reply));
        return;
    }
    struct buf zone = {0};
    write_zone(json_string_value(r->state), reply, &zone);
    request_answer_text(r, 200, "text/plain; charset=utf-8", buf_slice(&zone));
    buf_free(&zone);
}

static void on_domain_for_dns(struct request *r, int error, const json_t *reply) {
    if (error) {
        request_problem_bus(r, reply);
        return;
    }
    json_decref(r->state);
    r->state = json_incref(json_object_get(reply, "domain")); /* in A-labels */
    request_ask(r, "verifier.dns.records", json_pack("{s:O}", "domain", r->state), ASK_MS, on_records);
}

void domain_dns(struct request *r) {
    request_ask(r, "accounts.domain.get", json_pack("{s:s}", "domain", r->part), ASK_MS, on_domain_for_dns);
}

/* check */

static void on_checked(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_answer(r, 200, json_deep_copy(reply));
}

static void ask_check(struct request *r, int error, const json_t *reply, bool fresh) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_ask(r, "verifier.dns.check",
                    json_pack("{s:O,s:b}", "domain", json_object_get(reply, "domain"), "fresh", (int)fresh),
                    LONG_ASK_MS, on_checked);
}

static void on_domain_for_last(struct request *r, int error, const json_t *reply) { ask_check(r, error, reply, false); }
static void on_domain_for_fresh(struct request *r, int error, const json_t *reply) { ask_check(r, error, reply, true); }

void domain_check_get(struct request *r) {
    request_ask(r, "accounts.domain.get", json_pack("{s:s}", "domain", r->part), ASK_MS, on_domain_for_last);
}
void domain_check_post(struct request *r) {
    request_ask(r, "accounts.domain.get", json_pack("{s:s}", "domain", r->part), ASK_MS, on_domain_for_fresh);
}
