/* One publication, removal or clean-up: reads the wanted records (accounts) and the former ones
 * (Redis), updates the servers (on the pool), and records what is published (Redis). */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "libcommon/store/domain_note.h"
#include "services/verifier/zone/publish_private.h"
#include "services/verifier/zone/record_list.h"

static struct metric published =
    METRIC_COUNTER("postbus_verifier_dns_rrsets_published_total", "RRsets written to the authoritative DNS server");
static struct metric publish_failures =
    METRIC_COUNTER("postbus_verifier_dns_publish_failures_total", "Publications of a zone that failed");

enum { ASK_TIMEOUT_MS = 5000 };

/* A running task, with all data that it needs on the pool. */
struct job {
    struct publisher *publisher;
    struct publish_task *task;
    publish_finished_fn *finished;
    struct arena *arena;
    struct domain_records *made; /* PUBLISH_ZONE */
    struct record_set wanted;    /* the records of made, without those outside of all hosted
                                    domains */
    struct record_set former;    /* the records that were published before; in arena */
    size_t child_count;          /* hosted domains below this one */
    const char **children;
    struct publish_servers *servers; /* owned by the publisher */
    size_t changed;
    struct buf left_out;
    json_t *catalog; /* PUBLISH_CLEAN: the existing zones */
    int error;
    char reason[DNS_REASON_MAX + 128];
};

static void finish(struct job *j, enum publish_end end, const json_t *gone) {
    struct publisher *p = j->publisher;
    struct publish_task *task = j->task;
    publish_finished_fn *finished = j->finished;
    domain_records_destroy(j->made);
    json_decref(j->catalog);
    buf_free(&j->left_out);
    arena_destroy(j->arena);
    free(j);
    finished(p, task, end, gone);
}

static void finish_failed(struct job *j, enum publish_end end, const char *reason) {
    metric_add(&publish_failures, 1);
    log_warn("a zone cannot be brought up to date", "domain", j->task->domain, "reason", reason, NULL);
    finish(j, end, NULL);
}

static struct redis *store(const struct job *j) { return j->publisher->verifier->worker->redis; }

/* what was published */

static void add_records(json_t *list, struct record_set set) {
    for (size_t i = 0; i < set.n; i++) {
        const struct dns_record *r = &set.records[i];
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:i,s:s}", "name", r->name, "type", r->type, "ttl", r->ttl, "value", r->value));
    }
}

/* Records what is, or may be, on the servers from now on. */
static void keep(struct job *j, bool with_former, domain_note_done_fn *done) {
    json_t *list = json_array();
    add_records(list, j->wanted);
    if (with_former) add_records(list, j->former);
    char *text = json_dumps(list, JSON_COMPACT);
    domain_note_write(store(j), NOTE_PUBLISHED, j->task->domain, slice_of(text), 0, done, j);
    free(text);
    json_decref(list);
}

static void read_former(struct job *j, struct slice text) {
    json_t *list = json_loadb(text.p, text.n, 0, NULL), *one;
    size_t i, n = json_array_size(list);
    struct dns_record *records = arena_alloc(j->arena, (n + 1) * sizeof *records);
    json_array_foreach(list, i, one) {
        struct slice name = member_slice(one, "name"), type = member_slice(one, "type"),
                     value = member_slice(one, "value");
        if (!name.n || !type.n || !value.n) continue;
        records[j->former.n++] = (struct dns_record){.name = arena_copy(j->arena, name),
                                                     .type = arena_copy(j->arena, type),
                                                     .value = arena_copy(j->arena, value),
                                                     .ttl = (int)json_integer_value(json_object_get(one, "ttl"))};
    }
    j->former.records = records;
    json_decref(list);
}

/* on the pool */

static void collect_zone(void *ctx, const char *zone) {
    struct job *j = ctx;
    json_array_append_new(j->catalog, json_string(zone));
}

static void run(void *ctx) {
    struct job *j = ctx;
    const char *domain = j->task->domain;
    for (size_t i = 0; i < j->servers->count; i++) {
        const struct update_server *s = &j->servers->servers[i];
        char reason[DNS_REASON_MAX] = "";
        size_t changed = 0;
        int error = 0;
        switch (j->task->kind) {
        case PUBLISH_ZONE:
            error = update_publish(s, domain, j->wanted, j->former, &changed, i ? NULL : &j->left_out, reason);
            if (!error && *s->catalog) error = update_delegate(s, domain, j->child_count, j->children, reason);
            break;
        case PUBLISH_REMOVE: error = update_remove(s, domain, j->former, reason); break;
        case PUBLISH_CLEAN: error = update_list(s, collect_zone, j, reason); break;
        }
        j->changed += changed;
        if (!error) continue;
        j->error = error;
        snprintf(j->reason, sizeof j->reason, "%.100s: %s", s->dns.address, reason);
    }
}

static void on_removed(struct job *j) {
    domain_note_delete(store(j), NOTE_PUBLISHED, j->task->domain, NULL, NULL);
    domain_note_delete(store(j), NOTE_CHECK, j->task->domain, NULL, NULL);
    log_info("zone removed", "domain", j->task->domain, NULL);
}

static void on_cleaned(struct job *j) {
    struct publisher *p = j->publisher;
    const char *reason;
    json_t *gone =
        publish_choose_gone(p->hosted, j->catalog, p->seen, clock_wall_ms(), p->gone_seconds * 1000, &reason);
    if (!gone && json_array_size(j->catalog))
        log_error("zones that no domain is for are left as they are", "reason", reason, NULL);
    finish(j, PUBLISH_DONE, gone);
    json_decref(gone);
}

static void on_run(void *ctx) {
    struct job *j = ctx;
    char count[24];
    if (j->publisher->closing) {
        finish(j, PUBLISH_DONE, NULL);
        return;
    }
    if (j->error) {
        finish_failed(j, j->error == UPDATE_UNREACHABLE ? PUBLISH_PAUSE : PUBLISH_AGAIN, j->reason);
        return;
    }
    if (j->left_out.n)
        log_warn("records that could not be published", "domain", j->task->domain, "reason", buf_str(&j->left_out),
                 NULL);
    switch (j->task->kind) {
    case PUBLISH_ZONE:
        keep(j, false, NULL);
        if (j->changed) {
            metric_add(&published, (int64_t)j->changed);
            snprintf(count, sizeof count, "%zu", j->changed);
            log_info("zone published", "domain", j->task->domain, "rrsets", count, NULL);
        }
        break;
    case PUBLISH_REMOVE: on_removed(j); break;
    case PUBLISH_CLEAN: on_cleaned(j); return;
    }
    finish(j, PUBLISH_DONE, NULL);
}

static void start(struct job *j) { service_offload(j->publisher->verifier->worker, run, on_run, j); }

/* before it */

/* The records are noted before they are published, so that an update that a kill interrupts is
 * found later. */
static void on_noted(void *ctx, int error) {
    struct job *j = ctx;
    if (j->publisher->closing)
        finish(j, PUBLISH_DONE, NULL);
    else if (error)
        finish_failed(j, PUBLISH_PAUSE, "the store cannot be reached");
    else
        start(j);
}

static void on_former(void *ctx, int error, struct slice text) {
    struct job *j = ctx;
    if (j->publisher->closing) {
        finish(j, PUBLISH_DONE, NULL);
        return;
    }
    if (error && error != STORE_NOT_FOUND) {
        finish_failed(j, PUBLISH_PAUSE, "the store cannot be reached");
        return;
    }
    if (!error) read_former(j, text);
    if (j->task->kind == PUBLISH_ZONE)
        keep(j, true, on_noted);
    else
        start(j);
}

static void get_former(struct job *j) { domain_note_read(store(j), NOTE_PUBLISHED, j->task->domain, on_former, j); }

/* Whether a hosted domain has this name, or is above it. */
static bool is_hosted(const struct publisher *p, const char *name) {
    for (const char *at = name; at; at = strchr(at, '.') ? strchr(at, '.') + 1 : NULL)
        if (json_object_get(p->hosted, at)) return true;
    return false;
}

/* Records outside of the domain are published in their own domain if that is hosted here too;
 * otherwise its owner must publish them. */
static void choose_wanted(struct job *j) {
    struct dns_record *records = arena_alloc(j->arena, (j->made->n + 1) * sizeof *records);
    j->wanted.records = records;
    for (size_t i = 0; i < j->made->n; i++) {
        const struct dns_record *r = &j->made->records[i];
        if (record_is_inside(r->name, j->task->domain) || is_hosted(j->publisher, r->name)) records[j->wanted.n++] = *r;
    }
}

/* Finds domains below this one, which may have zones of their own if they were added first; only
 * when we create zones. */
static void find_children(struct job *j) {
    const char *name;
    json_t *value;
    j->children = arena_alloc(j->arena, (json_object_size(j->publisher->hosted) + 1) * sizeof *j->children);
    json_object_foreach(j->publisher->hosted, name, value) {
        (void)value;
        if (strcmp(name, j->task->domain) != 0 && record_is_inside(name, j->task->domain))
            j->children[j->child_count++] = arena_copy(j->arena, slice_of(name));
    }
}

static void on_records(void *ctx, struct domain_records *made, const char *code) {
    struct job *j = ctx;
    j->made = made;
    if (j->publisher->closing) {
        finish(j, PUBLISH_DONE, NULL);
    } else if (made && j->task->kind == PUBLISH_REMOVE) {
        log_info("a domain was said to be gone, but is here", "domain", j->task->domain, NULL);
        j->task->kind = PUBLISH_ZONE;
        choose_wanted(j);
        find_children(j);
        get_former(j);
    } else if (made) {
        choose_wanted(j);
        find_children(j);
        get_former(j);
    } else if (strcmp(code, "not_found") == 0) {
        if (j->task->kind == PUBLISH_REMOVE)
            get_former(j);
        else
            finish(j, PUBLISH_DONE, NULL); /* deleted in the meantime: its removal is another
                                              task */
    } else {
        finish_failed(j, PUBLISH_PAUSE, "accounts cannot be asked for the domain and its keys");
    }
}

void publish_job_start(struct publisher *p, struct publish_task *task, publish_finished_fn *finished) {
    struct job *j = memory_alloc(sizeof *j);
    j->publisher = p;
    j->task = task;
    j->finished = finished;
    j->arena = arena_create();
    j->servers = &p->servers;
    if (task->kind == PUBLISH_CLEAN) {
        j->catalog = json_array();
        start(j);
    } else { /* also before a removal: accounts decides whether the domain is deleted */
        domain_records_get(p->verifier, task->domain, true, on_records, j);
    }
}
