#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"
#include "libcommon/mail/domain.h"
#include "libcommon/trust/spf/spf.h"
#include "services/verifier/check/check.h"
#include "services/verifier/check/check_judge.h"
#include "services/verifier/dns/address.h"
#include "services/verifier/dns/lookup.h"
#include "services/verifier/zone/domain_records.h"
#include "services/verifier/zone/publish.h"
#include "services/verifier/zone/record_list.h"

enum { DS_MAX = 16, FINDINGS_MAX = RECORDS_MAX + 24, OUTGOING_MAX = 16, HTTPS_PORT = 443, CHECK_SPF_MS = 25000 };

enum phase { PHASE_ASK, PHASE_SPF, PHASE_POLICY, PHASE_JUDGE };

struct check {
    struct verifier *verifier;
    struct check *next;
    char domain[DOMAIN_BYTES];
    check_done_fn *done;
    void *ctx;
    struct arena *arena;
    struct domain_records *made; /* NULL: waited for */
    struct check_texts ds;
    char ds_reason[DNS_REASON_MAX];
    int ds_error;
    struct resolver *resolver; /* NULL: not yet asking */
    struct lookup *lookup;
    struct event *step; /* continues from the loop, never inside a callback of the resolver, which
                           may be destroyed here */
    enum phase phase;
    int rounds;
    int64_t begun_us;
    size_t outgoing_count;
    const char *outgoing[OUTGOING_MAX]; /* addresses of outgoing connections */
    int spf_covers;
    bool policy_asked;
    int status; /* of the policy */
    const char *content_type, *reason;
    struct slice body;
};

/* the end */

static void finish(struct check *c, json_t *result, const char *code) {
    struct verifier *v = c->verifier;
    struct check **place = &v->checks;
    while (*place != c) place = &(*place)->next;
    *place = c->next;
    v->check_count--;
    resolver_destroy(c->resolver);
    lookup_destroy(c->lookup);
    if (c->step) event_free(c->step);
    domain_records_destroy(c->made);
    c->done(c->ctx, result, code);
    arena_destroy(c->arena);
    free(c);
}

static json_t *texts_json(struct check_texts texts) {
    json_t *list = json_array();
    for (size_t i = 0; i < texts.n; i++) json_array_append_new(list, json_string(texts.text[i]));
    return list;
}

/* The exact records to publish, as lines of a zone file. */
static json_t *lines_json(const struct check *c, const struct check_finding *f) {
    json_t *list = json_array();
    if (f->state == CHECK_RIGHT || f->state == CHECK_UNKNOWN || strcmp(f->type, "HTTPS") == 0) return list;
    bool ours = false;
    for (size_t i = 0; i < c->made->n; i++) {
        const struct dns_record *r = &c->made->records[i];
        if (strcmp(r->name, f->name) != 0 || strcmp(r->type, f->type) != 0) continue;
        if (strcmp(r->type, "TXT") == 0 && strcmp(check_text_wanted(c->arena, r), f->wanted.text[0]) != 0) continue;
        ours = true;
        json_array_append_new(list, json_sprintf("%s. %d IN %s %s", r->name, r->ttl, r->type, r->value));
    }
    for (size_t i = 0; i < f->wanted.n && !ours; i++)
        json_array_append_new(list, json_sprintf("%s. 3600 IN %s %s", f->name, f->type, f->wanted.text[i]));
    return list;
}

static void add_finding(const struct check *c, json_t *list, const struct check_finding *f, int *wrong, int *unknown) {
    *wrong += check_is_fault(f);
    *unknown += f->state == CHECK_UNKNOWN;
    json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:b,s:s,s:b,s:o,s:o,s:s,s:o}", "name", f->name, "type", f->type,
                                          "purpose", f->purpose, "needed", (int)f->needed, "state",
                                          check_state_text(f->state), "fault", (int)check_is_fault(f), "wanted",
                                          texts_json(f->wanted), "found", texts_json(f->found), "say", f->say,
                                          "publish", lines_json(c, f)));
}

/* what is asked */

static const struct answer *known(const struct check *c, const char *name, int type) {
    return lookup_answer(c->lookup, slice_of(name), type);
}
static void want(struct check *c, const char *name, int type) { lookup_add(c->lookup, slice_of(name), type); }

static bool wants_policy(const struct check *c) { return *c->made->input.mta_sts != '\0'; }
static const char *policy_host(const struct check *c) { return arena_printf(c->arena, "mta-sts.%s", c->domain); }
static const char *outgoing_name(const struct records_input *in) {
    return *in->outgoing_name ? in->outgoing_name : in->mail_host;
}

static void add_questions(struct check *c) {
    const struct records_input *in = &c->made->input;
    char reverse[80];
    want(c, c->domain, TYPE_SOA);
    want(c, c->domain, TYPE_NS);
    want(c, c->domain, TYPE_DS);
    for (int k = 0; k < 2; k++) want(c, in->mail_host, k ? TYPE_AAAA : TYPE_A);
    for (size_t i = 0; i < c->made->n; i++) {
        const struct dns_record *r = &c->made->records[i];
        want(c, r->name, check_type(r->type));
        for (int k = 0; k < 2 && strcmp(r->type, "CNAME") == 0; k++) want(c, r->name, k ? TYPE_AAAA : TYPE_A);
    }
    for (int k = 0; k < 2 && wants_policy(c); k++) want(c, policy_host(c), k ? TYPE_AAAA : TYPE_A);
    for (size_t i = 0; i < c->outgoing_count; i++)
        if (domain_reverse_name(slice_of(c->outgoing[i]), reverse) == 0) want(c, reverse, TYPE_PTR);
}

static void read_outgoing(struct check *c) {
    const struct records_input *in = &c->made->input;
    struct slice left = slice_of(*in->outgoing ? in->outgoing : in->addresses);
    const char *one;
    while (c->outgoing_count < OUTGOING_MAX && (one = record_next(c->arena, &left)))
        if (record_family(one)) c->outgoing[c->outgoing_count++] = one;
}

/* SPF: another text may permit the same */

static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    static const struct answer none = {.status = ANSWER_FAILED};
    struct check *c = ctx;
    bool full = false;
    const struct answer *a = lookup_ask(c->lookup, name, type, &full);
    return a      ? lookup_as_proofs_take_it(c->arena, a)
           : full ? lookup_as_proofs_take_it(c->arena, &none)
                  : NULL; /* the list is full: treated as no answer */
}

/* TRUST_PENDING, or TRUST_DONE with c->spf_covers. */
static int judge_spf(struct check *c) {
    struct trust_dns dns = {look_up, c};
    const char *sender = arena_printf(c->arena, "postmaster@%s", c->domain), *helo = outgoing_name(&c->made->input);
    bool pending = false, silent = false, covers = c->outgoing_count > 0;
    for (size_t i = 0; i < c->outgoing_count; i++) {
        struct spf_verdict verdict;
        struct spf_query q = {.ip = slice_of(c->outgoing[i]),
                              .helo = slice_of(helo),
                              .sender = slice_of(sender),
                              .receiver = slice_of(helo),
                              .now = clock_wall_ms() / 1000};
        if (spf_check(c->arena, &q, &dns, &verdict) == TRUST_PENDING)
            pending = true;
        else
            covers = covers && verdict.result == SPF_PASS, silent = silent || verdict.result == SPF_TEMPERROR;
    }
    bool late = clock_monotonic_us() - c->begun_us > (int64_t)CHECK_SPF_MS * 1000;
    if (pending && !late && ++c->rounds < CHECK_ROUNDS_MAX) return TRUST_PENDING;
    c->spf_covers = c->outgoing_count == 0 ? -1 : pending || silent ? -2 : covers;
    return TRUST_DONE;
}

/* the policy */

static void on_policy(void *ctx, const struct http_answer *a) {
    struct check *c = ctx;
    c->status = a->status;
    c->body = arena_slice(c->arena, a->body);
    c->content_type = arena_copy(c->arena, slice_of(a->content_type));
    c->reason = arena_copy(c->arena, slice_of(a->reason));
    event_active(c->step, EV_TIMEOUT, 0);
}

/* Returns false when there is nothing to wait for. */
static bool fetch_policy(struct check *c) {
    struct buf addresses = {0};
    char text[64];
    c->policy_asked = true;
    c->content_type = "";
    c->reason = "its host has no address";
    for (int k = 0; k < 2; k++) {
        const struct answer *a = known(c, policy_host(c), k ? TYPE_AAAA : TYPE_A);
        for (size_t i = 0; a && a->status == ANSWER_OK && i < a->count && addresses.n < 256; i++)
            buf_printf(&addresses, "%s%s", addresses.n ? "," : "", domain_address_text(a->records[i].data, text));
    }
    bool any = addresses.n > 0;
    if (any)
        http_get(c->verifier->http, policy_host(c), HTTPS_PORT, buf_str(&addresses), "/.well-known/mta-sts.txt",
                 on_policy, c);
    buf_free(&addresses);
    return any;
}

/* findings */

static bool same_rrset(const struct check *c, const struct dns_record *a, const struct dns_record *b) {
    if (strcmp(a->type, b->type) != 0 || strcasecmp(a->name, b->name) != 0) return false;
    if (strcmp(a->type, "TXT") != 0)
        return true; /* each kind of TXT record at a name is judged
                        separately */
    const char *x = check_text_wanted(c->arena, a), *y = check_text_wanted(c->arena, b);
    size_t n = strcspn(x, " ;");
    return n == strcspn(y, " ;") && strncmp(x, y, n) == 0;
}

static void judge_records(struct check *c, json_t *list, int *wrong, int *unknown) {
    const struct records_input *in = &c->made->input;
    struct check_context context = {.domain = c->domain, .mail_host = in->mail_host, .spf_covers = -1};
    for (int k = 0; k < 2; k++) context.host_addresses[k] = known(c, in->mail_host, k ? TYPE_AAAA : TYPE_A);
    for (size_t i = 0; i < c->made->n; i++) {
        const struct dns_record *first = &c->made->records[i], *rrset[RECORDS_MAX];
        size_t n = 0;
        bool seen = false;
        for (size_t k = 0; k < i; k++) seen = seen || same_rrset(c, &c->made->records[k], first);
        for (size_t k = i; k < c->made->n && !seen; k++)
            if (same_rrset(c, &c->made->records[k], first)) rrset[n++] = &c->made->records[k];
        const struct answer *a = known(c, first->name, check_type(first->type));
        if (seen || !a) continue;
        for (int k = 0; k < 2; k++) context.addresses[k] = known(c, first->name, k ? TYPE_AAAA : TYPE_A);
        context.spf_covers = strcasecmp(first->name, c->domain) == 0 ? c->spf_covers : -1;
        struct check_finding f = check_rrset(c->arena, n, rrset, a, &context);
        add_finding(c, list, &f, wrong, unknown);
    }
}

/* The mail host's addresses, when they are in the zone of another domain. */
static void judge_host(struct check *c, json_t *list, int *wrong, int *unknown) {
    const struct records_input *in = &c->made->input;
    struct check_context context = {.domain = c->domain, .mail_host = in->mail_host};
    struct dns_record records[2][OUTGOING_MAX];
    const struct dns_record *rrset[2][OUTGOING_MAX];
    size_t n[2] = {0};
    struct slice left = slice_of(in->addresses);
    const char *one;
    if (record_is_inside(in->mail_host, c->domain)) return;
    while ((one = record_next(c->arena, &left))) {
        int k = record_family(one) == 6;
        if (!record_family(one) || n[k] == OUTGOING_MAX) continue;
        records[k][n[k]] = (struct dns_record){.name = in->mail_host,
                                               .type = k ? "AAAA" : "A",
                                               .value = one,
                                               .ttl = RECORDS_TTL,
                                               .purpose = "address of the mail host, in its own zone",
                                               .needed = true};
        rrset[k][n[k]] = &records[k][n[k]];
        n[k]++;
    }
    for (int k = 0; k < 2; k++) {
        const struct answer *a = known(c, in->mail_host, k ? TYPE_AAAA : TYPE_A);
        if (!n[k] || !a) continue;
        struct check_finding f = check_rrset(c->arena, n[k], rrset[k], a, &context);
        add_finding(c, list, &f, wrong, unknown);
    }
}

static void judge_others(struct check *c, json_t *list, int *wrong, int *unknown) {
    const struct records_input *in = &c->made->input;
    const struct answer *soa = known(c, c->domain, TYPE_SOA), *ns = known(c, c->domain, TYPE_NS),
                        *ds = known(c, c->domain, TYPE_DS);
    const struct publish_servers *servers = c->verifier->servers;
    const char *names = *in->ns_names ? in->ns_names : servers && *servers->servers[0].catalog ? in->mail_host : "";
    char reverse[80];
    if (soa->status != ANSWER_NODATA) { /* otherwise the domain is part of another zone, which has
                                           its own delegation */
        struct check_finding f[2] = {check_ns(c->arena, c->domain, names, ns),
                                     check_ds(c->arena, c->domain, c->ds, ds, soa)};
        if (*names) add_finding(c, list, &f[0], wrong, unknown);
        add_finding(c, list, &f[1], wrong, unknown);
    }
    for (size_t i = 0; i < c->outgoing_count; i++) {
        if (domain_reverse_name(slice_of(c->outgoing[i]), reverse)) continue;
        const struct answer *a = known(c, reverse, TYPE_PTR);
        if (!a) continue;
        struct check_finding f = check_ptr(c->arena, c->outgoing[i], outgoing_name(in), a);
        add_finding(c, list, &f, wrong, unknown);
    }
    if (wants_policy(c)) {
        struct check_finding f = check_policy(c->arena, c->domain, in->mta_sts, in->mail_host, c->status,
                                              c->content_type, c->body, c->reason);
        add_finding(c, list, &f, wrong, unknown);
    }
}

static void judge(struct check *c) {
    static const char *const securities[] = {
        [ANSWER_INSECURE] = "insecure", [ANSWER_SECURE] = "secure", [ANSWER_BOGUS] = "bogus"};
    const struct answer *soa = known(c, c->domain, TYPE_SOA);
    json_t *list = json_array();
    int wrong = 0, unknown = 0;
    char when[CLOCK_TEXT_BYTES];
    judge_records(c, list, &wrong, &unknown);
    judge_host(c, list, &wrong, &unknown);
    judge_others(c, list, &wrong, &unknown);
    const char *dnssec =
        soa->status == ANSWER_FAILED && soa->security != ANSWER_BOGUS ? "unknown" : securities[soa->security];
    finish(c,
           json_pack("{s:s,s:s,s:b,s:s,s:i,s:i,s:o}", "domain", c->domain, "checked",
                     clock_rfc3339(clock_wall_ms(), when), "ok", wrong == 0 && unknown == 0, "dnssec", dnssec, "wrong",
                     wrong, "unknown", unknown, "findings", list),
           "");
}

/* the way through */

static void on_lookup(void *ctx) {
    struct check *c = ctx;
    event_active(c->step, EV_TIMEOUT, 0);
}

static void on_step(evutil_socket_t fd, short what, void *ctx) {
    struct check *c = ctx;
    (void)fd, (void)what;
    if (c->phase == PHASE_ASK) c->phase = PHASE_SPF;
    while (c->phase == PHASE_SPF) {
        if (judge_spf(c) == TRUST_DONE)
            c->phase = PHASE_POLICY;
        else if (!lookup_run(c->lookup))
            return;
    }
    if (c->phase == PHASE_POLICY) {
        c->phase = PHASE_JUDGE;
        if (wants_policy(c) && fetch_policy(c)) return;
    }
    judge(c);
}

static void begin(struct check *c) {
    const struct resolver_settings settings = {
        .forward = config_text("POSTBUS_RESOLVER_FORWARD", ""),
        .stubs = config_text("POSTBUS_RESOLVER_STUBS", ""),
        .trust_anchor = config_text("POSTBUS_TRUST_ANCHOR", ""),
    };
    c->resolver = resolver_create(c->verifier->worker->base, &settings);
    c->step = event_new(c->verifier->worker->base, -1, 0, on_step, c);
    if (!c->resolver || !c->step) {
        finish(c, NULL, "unavailable");
        return;
    }
    c->begun_us = clock_monotonic_us();
    c->lookup = lookup_create(c->resolver, c->arena, CHECK_QUESTIONS_MAX, on_lookup, c);
    read_outgoing(c);
    add_questions(c);
    if (lookup_run(c->lookup)) on_lookup(c);
}

static void collect_ds(void *ctx, const char *ds) {
    struct check *c = ctx;
    if (c->ds.n < DS_MAX) c->ds.text[c->ds.n++] = arena_copy(c->arena, slice_of(ds));
}

static void ask_ds(void *ctx) { /* on the pool */
    struct check *c = ctx;
    c->ds_error = update_ds(&c->verifier->servers->servers[0], c->domain, collect_ds, c, c->ds_reason);
}

static void on_ds(void *ctx) {
    begin(ctx); /* without wanted DS records, the parent's are judged by whether they validate */
}

static void on_records(void *ctx, struct domain_records *made, const char *code) {
    struct check *c = ctx;
    c->made = made;
    if (!made)
        finish(c, NULL, code);
    else if (c->verifier->servers)
        service_offload(c->verifier->worker, ask_ds, on_ds, c);
    else
        begin(c);
}

void check_run(struct verifier *v, const char *domain, check_done_fn *done, void *ctx) {
    if (v->check_count >= CHECK_RUNS_MAX) {
        done(ctx, NULL, "busy");
        return;
    }
    struct check *c = memory_alloc(sizeof *c);
    c->verifier = v;
    c->done = done, c->ctx = ctx;
    c->arena = arena_create();
    c->ds.text = arena_alloc(c->arena, DS_MAX * sizeof *c->ds.text);
    c->spf_covers = -1;
    memcpy(c->domain, domain, strnlen(domain, DOMAIN_BYTES - 1));
    c->next = v->checks;
    v->checks = c;
    v->check_count++;
    domain_records_get(v, c->domain, true, on_records, c);
}

void check_stop(struct verifier *v) {
    for (struct check *c = v->checks, *next; c; c = next) {
        next = c->next;
        if (c->resolver)
            finish(c, NULL, "unavailable"); /* otherwise a thread of the pool uses it, and the
                                               process ends anyway */
    }
}
