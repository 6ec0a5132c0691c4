/* Operations that are owed to the mailbox service: a quota that was set, or the deletion of an
 * account. The change and the owed operation are recorded by one Function. The operation is sent
 * here, at once and, if that fails or this process ends, by the timer of any replica until it is
 * done. Both operations may be repeated. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "services/accounts/accounts.h"

/* A domain is removed from the index when it has owed nothing for this time, which is longer than
 * the time between the mark of a change in the index and its Function. */
enum { OWING_KEPT_MS = 600000, LEASE_SECONDS = OWED_SECONDS - 1 };

static struct metric done_count =
    METRIC_COUNTER("postbus_accounts_owed_done_total", "Quotas and deletions that the mailbox service was told");
static struct metric failed_count = METRIC_COUNTER("postbus_accounts_owed_failed_total",
                                                   "Tries to tell the mailbox service a quota or deletion that failed");

/* One operation on its way. */
struct owed {
    struct accounts *accounts;
    struct owed *next, *previous;
    uint64_t ticket;
    struct ask *ask; /* that waits for it, or NULL */
    json_t *reply;
    struct event *patience;
    char domain[DOMAIN_BYTES], user[64];
    char *what;
};

static void answer(struct owed *o) {
    struct ask *a = o->ask;
    json_t *reply = o->reply;
    o->ask = NULL;
    o->reply = NULL;
    if (a) ask_answer(a, reply);
}

static void owed_free(struct owed *o) {
    struct accounts *s = o->accounts;
    if (o->previous)
        o->previous->next = o->next;
    else
        s->owed = o->next;
    if (o->next) o->next->previous = o->previous;
    s->owed_count--;
    if (o->patience) event_free(o->patience);
    json_decref(o->reply);
    free(o->what);
    free(o);
}

static void on_out_of_patience(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    answer(ctx);
}

static void on_recorded(void *ctx, int error) {
    (void)ctx;
    if (error) log_debug("an operation that is done is still owed, and will be done again", NULL);
}

static void on_told(void *ctx, int error, const json_t *reply) {
    struct owed *o = ctx;
    /* not_found: the user was deleted, and nothing is left to do */
    if (!error || (error == BUS_REFUSED && strcmp(bus_error_code(reply), "not_found") == 0)) {
        metric_add(&done_count, 1);
        account_owed_done(o->accounts->worker->redis, o->domain, o->user, o->what, on_recorded, NULL);
    } else {
        metric_add(&failed_count, 1);
        log_warn("the mailbox service could not be told of a change; it is tried again", "user", o->user, "change",
                 o->what, "reason", error == BUS_REFUSED ? bus_error_code(reply) : "unavailable", NULL);
    }
    answer(o);
    owed_free(o);
}

void owed_do(struct accounts *s, const char *domain, const char *user, const char *what, struct ask *a, json_t *reply) {
    struct owed *o = memory_alloc(sizeof *o);
    long long bytes = 0;
    o->accounts = s;
    o->ask = a;
    o->reply = reply;
    snprintf(o->domain, sizeof o->domain, "%s", domain);
    snprintf(o->user, sizeof o->user, "%s", user);
    o->what = memory_copy(slice_of(what));
    o->next = s->owed;
    if (o->next) o->next->previous = o;
    s->owed = o;
    s->owed_count++;
    if (a) {
        struct timeval wait = {OWED_ANSWER_MS / 1000, OWED_ANSWER_MS % 1000 * 1000};
        o->patience = evtimer_new(s->worker->base, on_out_of_patience, o);
        event_add(o->patience, &wait);
    }
    if (sscanf(what, "quota %lld", &bytes) == 1)
        o->ticket = bus_request(s->worker->bus, "mailbox.quota",
                                json_pack("{s:s,s:I}", "user", user, "quota_bytes", (json_int_t)bytes), OWED_QUOTA_MS,
                                on_told, o);
    else
        o->ticket =
            bus_request(s->worker->bus, "mailbox.delete", json_pack("{s:s}", "user", user), OWED_DELETE_MS, on_told, o);
}

/* The clock */

struct look {
    struct accounts *accounts;
    char domain[DOMAIN_BYTES];
};

static bool is_running(const struct accounts *s, const char *user) {
    for (const struct owed *o = s->owed; o; o = o->next)
        if (strcmp(o->user, user) == 0) return true;
    return false;
}

static void on_owed(void *ctx, int error, const json_t *owed) {
    struct look *l = ctx;
    struct accounts *s = l->accounts;
    if (!error && json_object_size(owed) == 0)
        account_owing_clear(s->worker->redis, l->domain, clock_wall_ms() - OWING_KEPT_MS);
    for (void *at = json_object_iter((json_t *)(uintptr_t)owed); at && !service_is_draining();
         at = json_object_iter_next((json_t *)(uintptr_t)owed, at))
        if (s->owed_count < OWED_RUNNING_MAX && !is_running(s, json_object_iter_key(at)))
            owed_do(s, l->domain, json_object_iter_key(at), json_string_value(json_object_iter_value(at)), NULL, NULL);
    free(l);
}

static void on_owing(void *ctx, int error, const json_t *domains) {
    struct accounts *s = ctx;
    size_t i;
    json_t *each;
    (void)error;
    json_array_foreach((json_t *)(uintptr_t)domains, i, each) {
        struct look *l = memory_alloc(sizeof *l);
        l->accounts = s;
        snprintf(l->domain, sizeof l->domain, "%s", json_string_value(each));
        account_owed(s->worker->redis, l->domain, on_owed, l);
    }
}

static void on_lease(void *ctx, int error) {
    struct accounts *s = ctx;
    if (!error) account_owing(s->worker->redis, on_owing, s);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct accounts *s = ctx;
    (void)fd, (void)what;
    if (!service_is_draining()) account_owing_lease(s->worker->redis, LEASE_SECONDS, on_lease, s);
}

void owed_start(struct accounts *s) {
    struct timeval tick = {OWED_SECONDS, 0};
    s->owed_clock = event_new(s->worker->base, -1, EV_PERSIST, on_clock, s);
    event_add(s->owed_clock, &tick);
}

void owed_stop(struct accounts *s) {
    event_free(s->owed_clock);
    while (s->owed) { /* recorded, so that another replica or the next start does them */
        /* owed_free removes each entry from the list. */
        bus_cancel(s->worker->bus, s->owed->ticket); // NOLINT(clang-analyzer-unix.Malloc)
        owed_free(s->owed);
    }
}
