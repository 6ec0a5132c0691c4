#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "libcommon/mail/domain.h"
#include "services/verifier/zone/publish_private.h"

static void add_task(struct publisher *p, enum publish_kind kind, const char *domain) {
    for (struct publish_task *t = p->first; t; t = t->next) {
        if (strcmp(t->domain, domain) != 0) continue;
        t->kind = kind; /* the last request counts */
        return;
    }
    struct publish_task *t = memory_alloc(sizeof *t);
    t->kind = kind;
    snprintf(t->domain, sizeof t->domain, "%s", domain);
    *p->last = t;
    p->last = &t->next;
}

static void publisher_free(struct publisher *p) {
    publish_servers_free(&p->servers);
    free(p);
}

static void try_again_later(struct publisher *p) {
    struct timeval delay = {PUBLISH_RETRY_SECONDS, 0};
    if (!event_pending(p->again, EV_TIMEOUT, NULL)) event_add(p->again, &delay);
}

static void next_task(struct publisher *p);

static void on_finished(struct publisher *p, struct publish_task *task, enum publish_end end, const json_t *gone) {
    size_t i;
    const json_t *zone;
    p->busy = false;
    if (p->closing) {
        free(task);
        publisher_free(p);
        return;
    }
    json_array_foreach(gone, i, zone) add_task(p, PUBLISH_REMOVE, json_string_value(zone));
    if (end == PUBLISH_DONE) {
        free(task);
    } else {
        task->next = p->failed;
        p->failed = task;
        try_again_later(p);
    }
    if (end != PUBLISH_PAUSE) next_task(p);
}

static void next_task(struct publisher *p) {
    if (p->busy || p->closing || !p->first) return;
    struct publish_task *t = p->first;
    p->first = t->next;
    if (!p->first) p->last = &p->first;
    t->next = NULL;
    p->busy = true;
    publish_job_start(p, t, on_finished);
}

/* the list of domains */

static int by_length(const void *x, const void *y) {
    const char *const *a = x, *const *b = y;
    size_t m = strlen(*a), n = strlen(*b);
    return m < n ? -1 : m > n ? 1 : strcmp(*a, *b);
}

/* Parent domains come first, so that the records of a child go into the parent's zone, and no zone
 * is created without a delegation. */
static void add_all(struct publisher *p) {
    size_t n = json_object_size(p->hosted), i = 0;
    const char **names = memory_alloc((n + 1) * sizeof *names), *name;
    json_t *value;
    json_object_foreach(p->hosted, name, value) {
        (void)value;
        names[i++] = name;
    }
    qsort(names, n, sizeof *names, by_length);
    for (i = 0; i < n; i++) add_task(p, PUBLISH_ZONE, names[i]);
    free(names);
}

static void on_domain(void *ctx, const char *name) {
    struct publisher *p = ctx;
    char domain[DOMAIN_BYTES];
    if (domain_normalise(slice_of(name), domain) == 0) json_object_set_new(p->listing, domain, json_true());
}

static void on_domains(void *ctx, bool whole) {
    struct publisher *p = ctx;
    if (!whole) { /* an incomplete list is not used */
        json_decref(p->listing);
        p->listing = NULL;
        try_again_later(p);
        return;
    }
    json_decref(p->hosted);
    p->hosted = p->listing;
    p->listing = NULL;
    add_all(p);
    if (*p->servers.servers[0].catalog) add_task(p, PUBLISH_CLEAN, "");
    next_task(p);
}

static void list_domains(struct publisher *p) {
    if (domain_list_is_read(&p->list)) return;
    json_decref(p->listing);
    p->listing = json_object();
    domain_list_read(&p->list, p->verifier->worker->bus, on_domain, on_domains, p);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    struct publisher *p = ctx;
    struct timeval delay = {p->every_seconds, 0};
    event_add(p->clock, &delay);
    list_domains(p);
}

/* A failed task goes to the end of the list, unless there is a newer one for its domain. If there
 * is no list of domains yet, reading it is what failed. */
static void on_again(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    struct publisher *p = ctx;
    while (p->failed) {
        struct publish_task *failed = p->failed, *newer = p->first;
        p->failed = failed->next;
        while (newer && strcmp(newer->domain, failed->domain) != 0) newer = newer->next;
        if (!newer) add_task(p, failed->kind, failed->domain);
        free(failed);
    }
    if (!p->hosted) list_domains(p);
    next_task(p);
}

/* events */

static void on_account_changed(void *ctx, struct slice about, const json_t *data) {
    (void)about;
    struct publisher *p = ctx;
    char domain[DOMAIN_BYTES];
    struct slice what = member_slice(data, "what"), change = member_slice(data, "change");
    if (p->closing || (!slice_is(what, "domain") && !slice_is(what, "key")) ||
        domain_normalise(member_slice(data, "domain"), domain))
        return;
    bool gone = slice_is(what, "domain") && slice_is(change, "deleted");
    json_t *lists[] = {p->hosted, p->listing}; /* the clean-up must not remove domains that were
                                                  added since the list was read */
    for (size_t i = 0; i < 2; i++) {
        if (!lists[i]) continue;
        if (gone)
            json_object_del(lists[i], domain);
        else
            json_object_set_new(lists[i], domain, json_true());
    }
    add_task(p, gone ? PUBLISH_REMOVE : PUBLISH_ZONE, domain);
    next_task(p);
}

static void on_missed(void *ctx) {
    struct publisher *p = ctx;
    struct timeval soon = {PUBLISH_START_SECONDS, 0};
    if (!p->closing) event_add(p->clock, &soon);
}

struct publisher *publisher_create(struct verifier *v) {
    struct timeval soon = {PUBLISH_START_SECONDS, 0};
    struct publish_servers servers;
    if (!publish_servers_read(&servers)) return NULL;
    struct publisher *p = memory_alloc(sizeof *p);
    p->verifier = v;
    p->servers = servers;
    p->last = &p->first;
    p->seen = json_object();
    p->every_seconds = config_number("POSTBUS_DNS_PUBLISH_SECONDS", PUBLISH_EVERY_SECONDS, 1, 86400);
    p->gone_seconds = config_number("POSTBUS_DNS_GONE_SECONDS", PUBLISH_GONE_SECONDS, 0, 31536000);
    p->clock = event_new(v->worker->base, -1, 0, on_clock, p);
    p->again = event_new(v->worker->base, -1, 0, on_again, p);
    if (!p->clock || !p->again) memory_exhausted();
    event_add(p->clock, &soon);
    bus_follow(v->worker->bus, "account.changed.>", on_account_changed, on_missed, p);
    return p;
}

static void free_tasks(struct publish_task **list) {
    while (*list) {
        struct publish_task *t = *list;
        *list = t->next;
        free(t);
    }
}

void publisher_destroy(struct publisher *p) {
    if (!p) return;
    p->closing = true;
    domain_list_stop(&p->list);
    event_free(p->clock);
    event_free(p->again);
    json_decref(p->hosted);
    json_decref(p->listing);
    json_decref(p->seen);
    p->hosted = p->listing = p->seen = NULL;
    free_tasks(&p->first);
    free_tasks(&p->failed);
    p->last = &p->first;
    if (!p->busy) publisher_free(p); /* otherwise the running task does this */
}
