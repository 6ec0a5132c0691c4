/* /api/v1/health: what each part of the system says when it is asked. Ready (200) when the bus, the store and accounts
 * answer; else 503. One look serves all who ask within a second, so that asking costs the other services nothing. */
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "services/admin/admin.h"

enum { HEALTH_ASK_MS = 2000 };

/* Any answer, also a refusal, shows that the service works; only silence or "unavailable" does not. */
static const struct part {
    const char *name, *verb, *ask;
} parts[] = {
    {"accounts", "accounts.domain.list", "{\"limit\":1}"},
    {"verifier", "verifier.dns.records", "{\"domain\":\"health.invalid\"}"},
    {"mailbox", "mailbox.stat", "{\"user\":\"00000000000000000000000000\"}"},
    {"delivery", "delivery.queue.list", "{\"limit\":1}"},
    {"reporter", "reporter.sent", "{\"limit\":1}"},
};
enum { PARTS = sizeof parts / sizeof *parts };

struct look {
    struct request *request;
    json_t *components;
    int waiting;
    bool accounts, store;
};

struct one {
    struct look *look;
    const char *name;
};

static void answer(struct request *r, const json_t *health) {
    unsigned status = strcmp(json_string_value(json_object_get(health, "status")), "unavailable") == 0 ? 503 : 200;
    request_answer(r, status, json_deep_copy(health));
}

static void finish(struct look *l) {
    struct request *r = l->request;
    struct admin *a = r->admin;
    bool bus = bus_is_ready(a->worker->bus), all = bus && l->store && a->journal_ready;
    const char *key;
    json_t *component;
    json_object_set_new(l->components, "bus", json_pack("{s:s}", "state", bus ? "up" : "down"));
    json_object_set_new(l->components, "store", json_pack("{s:s}", "state", l->store ? "up" : "down"));
    json_object_set_new(l->components, "journal", json_pack("{s:s}", "state", a->journal_ready ? "up" : "down"));
    json_object_foreach(l->components, key, component) all =
        all && strcmp(json_string_value(json_object_get(component, "state")), "up") == 0;
    json_decref(a->health);
    a->health = json_pack("{s:s,s:s,s:o}", "status",
                          !bus || !l->store || !l->accounts ? "unavailable"
                          : all                             ? "ok"
                                                            : "degraded",
                          "hostname", a->worker->hostname, "components", l->components);
    a->health_us = clock_monotonic_us();
    answer(r, a->health);
    free(l);
}

static void on_answer(void *ctx, int error, const json_t *reply) {
    struct one *one = ctx;
    struct look *l = one->look;
    const char *code = bus_error_code(reply);
    bool up = error == BUS_OK || (error == BUS_REFUSED && strcmp(code, "unavailable") != 0);
    if (strcmp(one->name, "accounts") == 0) l->accounts = up;
    json_object_set_new(l->components, one->name,
                        json_pack("{s:s}", "state",
                                  up                              ? "up"
                                  : error == BUS_REFUSED || reply ? "failing"
                                                                  : "down"));
    free(one);
    if (--l->waiting == 0) finish(l);
}

static void on_pong(void *ctx, const redisReply *reply) {
    struct look *l = ctx;
    l->store = redis_reply_error(reply) == 0;
    if (--l->waiting == 0) finish(l);
}

void health_get(struct request *r) {
    struct admin *a = r->admin;
    if (a->health && clock_monotonic_us() - a->health_us < HEALTH_CACHE_US) {
        answer(r, a->health);
        return;
    }
    struct look *l = memory_alloc(sizeof *l);
    *l = (struct look){.request = r, .components = json_object(), .waiting = PARTS + 1};
    struct slice ping = SLICE("PING");
    redis_command(a->worker->redis, on_pong, l, 1, &ping);
    for (size_t i = 0; i < PARTS; i++) {
        struct one *one = memory_alloc(sizeof *one);
        *one = (struct one){l, parts[i].name};
        bus_request(a->worker->bus, parts[i].verb, json_loads(parts[i].ask, 0, NULL), HEALTH_ASK_MS, on_answer, one);
    }
}
