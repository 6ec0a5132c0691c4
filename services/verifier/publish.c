#include "services/verifier/publish.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "services/verifier/domain.h"
#include "services/verifier/keys.h"
#include "services/verifier/update.h"

static struct metric published = METRIC_COUNTER("postbus_verifier_dns_rrsets_published_total", "RRsets written to the authoritative DNS server");
static struct metric publish_failures = METRIC_COUNTER("postbus_verifier_dns_publish_failures_total", "Publications of a zone that failed");

enum { LIST_TIMEOUT_MS = 10000, ABSENT_MAX = 8 };

enum kind { KIND_PUBLISH, KIND_REMOVE, KIND_CLEAN };

/* Work to do; one kind of it a domain at a time in the list. */
struct task {
    struct task *next;
    enum kind kind;
    char domain[DOMAIN_MAX]; /* "" for KIND_CLEAN */
};

/* A task under way on the pool, and all that it needs there. */
struct job {
    struct publisher *publisher;
    struct task *task;
    struct arena *arena;
    struct update_server server;
    size_t n, absent_count, changed;
    struct dns_record records[RECORDS_MAX], absent[ABSENT_MAX];
    json_t *hosted; /* KIND_CLEAN: {"<domain>":true} of all hosted domains */
    json_t *gone;   /* KIND_CLEAN: zones that no domain is for */
    int error;
    char reason[UPDATE_REASON_MAX];
};

struct publisher {
    struct verifier *verifier;
    struct event *clock, *again;
    char *tsig; /* the secret, cut into the three */
    struct update_server server;
    struct task *first, **last;
    bool busy, closing;
    json_t *hosted; /* the last list of domains, for KIND_CLEAN */
    uint64_t ticket;
};

static void next_task(struct publisher *p);

static void add_task(struct publisher *p, enum kind kind, const char *domain) {
    for (struct task *t = p->first; t; t = t->next) {
        if (strcmp(t->domain, domain) != 0) continue;
        t->kind = kind; /* what was asked last counts */
        return;
    }
    struct task *t = memory_alloc(sizeof *t);
    t->kind = kind;
    snprintf(t->domain, sizeof t->domain, "%s", domain);
    *p->last = t;
    p->last = &t->next;
}

static void job_destroy(struct job *j) {
    json_decref(j->hosted);
    json_decref(j->gone);
    arena_destroy(j->arena);
    free(j->task);
    free(j);
}

static void publisher_free(struct publisher *p) {
    free(p->tsig);
    free(p);
}

static void try_again_later(struct publisher *p) {
    struct timeval delay = {PUBLISH_RETRY_SECONDS, 0};
    if (!event_pending(p->again, EV_TIMEOUT, NULL)) event_add(p->again, &delay);
}

static void collect_gone(void *ctx, const char *zone) {
    struct job *j = ctx;
    if (!json_object_get(j->hosted, zone)) json_array_append_new(j->gone, json_string(zone));
}

/* On a thread of the pool. */
static void run(void *ctx) {
    struct job *j = ctx;
    switch (j->task->kind) {
    case KIND_PUBLISH: j->error = update_publish(&j->server, j->task->domain, j->n, j->records, j->absent_count, j->absent, &j->changed, j->reason); break;
    case KIND_REMOVE: j->error = update_remove(&j->server, j->task->domain, j->reason); break;
    case KIND_CLEAN: j->error = update_list(&j->server, collect_gone, j, j->reason); break;
    }
}

static void on_done(void *ctx) {
    struct job *j = ctx;
    struct publisher *p = j->publisher;
    char count[24];
    p->busy = false;
    snprintf(count, sizeof count, "%zu", j->changed);
    if (p->closing) {
        job_destroy(j);
        publisher_free(p);
        return;
    }
    if (j->error) {
        metric_add(&publish_failures, 1);
        log_warn("a zone cannot be brought up to date", "domain", j->task->domain, "server", p->server.address, "reason", j->reason, NULL);
        bool newer = false;
        for (struct task *t = p->first; t; t = t->next) newer = newer || strcmp(t->domain, j->task->domain) == 0;
        if (!newer) add_task(p, j->task->kind, j->task->domain);
        try_again_later(p);
    } else if (j->task->kind == KIND_PUBLISH && j->changed) {
        metric_add(&published, (int64_t)j->changed);
        log_info("zone published", "domain", j->task->domain, "rrsets", count, NULL);
    } else if (j->task->kind == KIND_REMOVE) {
        log_info("zone removed", "domain", j->task->domain, NULL);
    }
    size_t i;
    const json_t *zone;
    json_array_foreach(j->gone, i, zone) if (!j->error) add_task(p, KIND_REMOVE, json_string_value(zone));
    bool ok = !j->error;
    job_destroy(j);
    if (ok) next_task(p);
}

static void start(struct job *j) { service_offload(j->publisher->verifier->worker, run, on_done, j); }

/* What a zone of ours may hold from other days, when the settings were others. */
static void list_absent(struct job *j, const struct records_input *in) {
    const char *names[][2] = {
        {arena_printf(j->arena, "_mta-sts.%s", in->domain), "TXT"},
        {arena_printf(j->arena, "mta-sts.%s", in->domain), "CNAME"},
        {arena_printf(j->arena, "_25._tcp.%s", in->mail_host), "TLSA"},
    };
    size_t inside = strlen(in->mail_host) > strlen(in->domain) ? strlen(in->mail_host) - strlen(in->domain) : 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bool wanted = i == 2 && (inside == 0 || strcasecmp(in->mail_host + inside, in->domain) != 0 || in->mail_host[inside - 1] != '.');
        for (size_t k = 0; k < j->n; k++) wanted = wanted || (strcasecmp(j->records[k].name, names[i][0]) == 0 && strcmp(j->records[k].type, names[i][1]) == 0);
        if (!wanted) j->absent[j->absent_count++] = (struct dns_record){.name = names[i][0], .type = names[i][1]};
    }
}

static void on_keys(void *ctx, struct domain_keys *keys, const char *code) {
    struct job *j = ctx;
    struct publisher *p = j->publisher;
    if (!keys && strcmp(code, "unavailable") == 0) {
        p->busy = false;
        if (p->closing) {
            publisher_free(p);
        } else {
            add_task(p, j->task->kind, j->task->domain);
            try_again_later(p);
        }
        job_destroy(j);
        return;
    }
    struct records_input in = {.domain = j->task->domain, .keys = keys};
    records_settings(j->arena, p->verifier, &in);
    j->n = records_make(j->arena, &in, j->records);
    list_absent(j, &in);
    start(j);
}

static void next_task(struct publisher *p) {
    if (p->busy || p->closing || !p->first) return;
    struct task *t = p->first;
    p->first = t->next;
    if (!p->first) p->last = &p->first;
    t->next = NULL;
    p->busy = true;
    struct job *j = memory_alloc(sizeof *j);
    j->publisher = p;
    j->task = t;
    j->arena = arena_create();
    j->server = p->server;
    switch (t->kind) {
    case KIND_PUBLISH:
        key_cache_drop(p->verifier->keys, slice_of(t->domain)); /* the keys as they are now */
        key_cache_get(p->verifier->keys, slice_of(t->domain), on_keys, j);
        break;
    case KIND_CLEAN:
        j->hosted = json_deep_copy(p->hosted);
        j->gone = json_array();
        start(j);
        break;
    case KIND_REMOVE: start(j); break;
    }
}

static void on_domains(void *ctx, int error, const json_t *reply) {
    struct publisher *p = ctx;
    const json_t *list = json_object_get(reply, "domains"), *one;
    char domain[DOMAIN_MAX];
    size_t i;
    p->ticket = 0;
    if (error || !json_is_array(list)) {
        try_again_later(p);
        return;
    }
    json_decref(p->hosted);
    p->hosted = json_object();
    json_array_foreach(list, i, one) {
        struct slice name = json_is_string(one) ? slice_of(json_string_value(one)) : ask_text(one, "domain");
        if (domain_to_ascii(name, domain)) continue;
        json_object_set_new(p->hosted, domain, json_true());
        add_task(p, KIND_PUBLISH, domain);
    }
    if (!json_is_string(json_object_get(reply, "next"))) add_task(p, KIND_CLEAN, "");
    next_task(p);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    struct publisher *p = ctx;
    struct timeval delay = {PUBLISH_EVERY_SECONDS, 0};
    event_add(p->clock, &delay);
    if (!p->ticket) p->ticket = bus_request(p->verifier->worker->bus, "accounts.domain.list", json_object(), LIST_TIMEOUT_MS, on_domains, p);
}

/* What failed is in the list again; without a list of domains yet, that is what failed. */
static void on_again(evutil_socket_t fd, short what, void *ctx) {
    struct publisher *p = ctx;
    if (!p->hosted) on_clock(fd, what, p);
    next_task(p);
}

static void on_account_changed(void *ctx, struct slice about, const json_t *data) {
    (void)about;
    struct publisher *p = ctx;
    char domain[DOMAIN_MAX];
    struct slice what = ask_text(data, "what"), change = ask_text(data, "change");
    if (p->closing || (!slice_is(what, "domain") && !slice_is(what, "key")) || domain_to_ascii(ask_text(data, "domain"), domain)) return;
    bool gone = slice_is(what, "domain") && slice_is(change, "deleted");
    if (p->hosted) { /* the clean-up must not take what was added since the list was read */
        if (gone)
            json_object_del(p->hosted, domain);
        else
            json_object_set_new(p->hosted, domain, json_true());
    }
    add_task(p, gone ? KIND_REMOVE : KIND_PUBLISH, domain);
    next_task(p);
}

/* "algorithm:name:base64" */
static bool cut_tsig(struct publisher *p) {
    char *name = strchr(p->tsig, ':'), *key = name ? strchr(name + 1, ':') : NULL;
    if (!key || name == p->tsig || key == name + 1 || !key[1]) return false;
    *name = *key = '\0';
    p->server.algorithm = p->tsig;
    p->server.key_name = name + 1;
    p->server.key_b64 = key + 1;
    return true;
}

struct publisher *publisher_create(struct verifier *v) {
    const char *address = config_text("POSTBUS_DNS_SERVER", "");
    struct timeval soon = {PUBLISH_START_SECONDS, 0};
    if (!*address) return NULL;
    struct publisher *p = memory_alloc(sizeof *p);
    p->verifier = v;
    p->last = &p->first;
    p->server.address = address;
    p->server.catalog = config_text("POSTBUS_DNS_CATALOG", "catalog.postbus");
    p->tsig = config_secret("tsig.key", true);
    if (!cut_tsig(p)) config_refuse("secret tsig.key", "must be algorithm:name:base64, as in hmac-sha256:postbus:MTIz…");
    p->clock = event_new(v->worker->base, -1, 0, on_clock, p);
    p->again = event_new(v->worker->base, -1, 0, on_again, p);
    if (!p->clock || !p->again) memory_exhausted();
    event_add(p->clock, &soon);
    bus_hear(v->worker->bus, "account.changed.>", false, on_account_changed, p);
    return p;
}

void publisher_destroy(struct publisher *p) {
    if (!p) return;
    p->closing = true;
    if (p->ticket) bus_cancel(p->verifier->worker->bus, p->ticket);
    event_free(p->clock);
    event_free(p->again);
    json_decref(p->hosted);
    while (p->first) {
        struct task *t = p->first;
        p->first = t->next;
        free(t);
    }
    p->last = &p->first;
    if (!p->busy) publisher_free(p); /* else what is under way does it */
}
