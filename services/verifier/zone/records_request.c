/* verifier.dns.records: the records that a hosted domain should publish, and the DS records for its
 * parent zone if we sign the zone. */
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "libcommon/mail/domain.h"
#include "services/verifier/zone/domain_records.h"
#include "services/verifier/zone/publish.h"
#include "services/verifier/zone/record_list.h"

struct request {
    struct verifier *verifier;
    struct bus_call *call;
    struct domain_records *made;
    json_t *ds;
    int error;
    char reason[DNS_REASON_MAX];
};

static void answer(struct request *q) {
    json_t *list = json_array();
    for (size_t i = 0; i < q->made->n; i++) {
        const struct dns_record *r = &q->made->records[i];
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:i,s:s,s:s,s:b,s:b}", "name", r->name, "type", r->type, "ttl",
                                        r->ttl, "value", r->value, "purpose", r->purpose, "needed", (int)r->needed,
                                        "outside", (int)!record_is_inside(r->name, q->made->input.domain)));
    }
    if (q->error)
        log_warn("the DNS server does not say which DS records the parent needs", "domain", q->made->input.domain,
                 "reason", q->reason, NULL);
    bus_answer(q->call, json_pack("{s:o,s:O}", "records", list, "ds", q->ds));
    verifier_end(q->verifier);
    domain_records_destroy(q->made);
    json_decref(q->ds);
    free(q);
}

static void collect_ds(void *ctx, const char *ds) { json_array_append_new(ctx, json_string(ds)); }

static void run(void *ctx) { /* on the pool */
    struct request *q = ctx;
    q->error = update_ds(&q->verifier->servers->servers[0], q->made->input.domain, collect_ds, q->ds, q->reason);
}

static void on_run(void *ctx) { answer(ctx); }

static void on_records(void *ctx, struct domain_records *made, const char *code) {
    struct request *q = ctx;
    if (!made) {
        bool none = strcmp(code, "not_found") == 0;
        bus_refuse(q->call, code,
                   none ? "there is no such domain here" : "the domain and its keys are not available now");
        verifier_end(q->verifier);
        free(q);
        return;
    }
    q->made = made;
    q->ds = json_array();
    if (q->verifier->servers)
        service_offload(q->verifier->worker, run, on_run, q);
    else
        answer(q);
}

static void on_ask(void *ctx, struct bus_call *call, const json_t *ask) {
    struct verifier *v = ctx;
    char domain[DOMAIN_BYTES];
    if (domain_normalise(member_slice(ask, "domain"), domain)) {
        bus_refuse(call, "invalid", "not a domain name");
        return;
    }
    if (!verifier_begin(v, call)) return;
    struct request *q = memory_alloc(sizeof *q);
    q->verifier = v;
    q->call = call;
    domain_records_get(v, domain, false, on_records, q);
}

void records_serve(struct verifier *v) { bus_serve(v->worker->bus, "dns.records", on_ask, v); }
