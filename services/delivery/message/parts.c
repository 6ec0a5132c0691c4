#include "services/delivery/message/parts.h"

#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/store/blob.h"
#include "libcommon/store/queue.h"
#include "services/delivery/destination/destination.h"
#include "services/delivery/destination/route.h"
#include "services/delivery/destination/tls_fact.h"
#include "services/delivery/message/local.h"
#include "services/delivery/message/settlement.h"

enum { ROUTE_AGAIN_MS = 10000, ROUTE_AGAIN_LAST_MS = 120000, CLOCKS_APART_MS = 60000 };

/* The due recipients of one domain, until their route is known. */
struct part {
    struct message *message;
    char *domain;
    json_t *route;
    bool forced;
    size_t count, *indexes;
};

static void part_end(struct part *p) {
    struct message *m = p->message;
    json_decref(p->route);
    free(p->domain);
    free(p->indexes);
    free(p);
    m->owner.ended(m);
}

static void settle_part(struct part *p, struct outcome o) {
    struct outcome *all = memory_alloc((p->count + 1) * sizeof *all);
    o.host = "";
    for (size_t i = 0; i < p->count; i++) all[i] = o;
    message_settle(p->message, p->count, p->indexes, all);
    free(all);
    part_end(p);
}

static int64_t pause_of(const struct message *m) {
    int64_t age = clock_wall_ms() - m->envelope->received_ms;
    return age / 2 < ROUTE_AGAIN_MS ? ROUTE_AGAIN_MS : age / 2 > ROUTE_AGAIN_LAST_MS ? ROUTE_AGAIN_LAST_MS : age / 2;
}

/* Adds the recipients to the destination, those with one reverse-path together. */
static void hand_over(struct part *p) {
    struct message *m = p->message;
    const struct envelope *e = m->envelope;
    struct delivery *d = m->delivery;
    const struct tls_wish wish = {.dane = tls_list_names(slice_of(d->dane_required), slice_of(p->domain)),
                                  .required = e->require_tls,
                                  .waived = m->waives > 0};
    struct destination *dest = destination_find(d->destinations, p->route, p->domain, &wish);
    size_t *group = memory_alloc((p->count + 1) * sizeof *group);
    bool *taken = memory_alloc(p->count + 1);
    for (size_t i = 0; i < p->count; i++) {
        struct slice from = envelope_from(e, p->indexes[i]);
        size_t n = 0;
        for (size_t k = i; k < p->count; k++)
            if (!taken[k] && slice_equal(envelope_from(e, p->indexes[k]), from)) {
                taken[k] = true;
                group[n++] = p->indexes[k];
            }
        if (n) destination_add(dest, &m->owner, from, p->forced, n, group);
    }
    free(taken);
    free(group);
    part_end(p);
}

static void on_message(void *ctx, int error, struct slice text) {
    struct part *p = ctx;
    struct message *m = p->message;
    if (!error) {
        m->waives = tls_message_waives(text);
        hand_over(p);
    } else if (error == STORE_NOT_FOUND || error == STORE_INVALID) {
        log_error("a message of the queue has no body any more", "id", m->envelope->id, NULL);
        settle_part(
            p, (struct outcome){
                   .kind = OUTCOME_BOUNCED, .code = 554, .enhanced = "5.3.0", .reason = "the message's body is lost"});
    } else {
        settle_part(p, (struct outcome){.kind = OUTCOME_DEFERRED,
                                        .code = 451,
                                        .enhanced = "4.3.0",
                                        .reason = "the message store cannot be reached",
                                        .retry_ms = pause_of(m),
                                        .not_counted = true});
    }
}

static void tell_route(const struct part *p) {
    json_t *sts = json_object_get(p->route, "mta_sts");
    const json_t *host;
    bool dane = false;
    size_t i;
    json_array_foreach(json_object_get(p->route, "hosts"), i, host) dane =
        dane || json_array_size(json_object_get(host, "tlsa")) > 0;
    bus_publish(p->message->delivery->worker->bus, "mail.routed", slice_of(p->message->envelope->id),
                json_pack("{s:s,s:O,s:O,s:o,s:b}", "domain", p->domain, "hosts", json_object_get(p->route, "hosts"),
                          "dnssec", json_object_get(p->route, "dnssec"), "mta_sts",
                          sts ? json_incref(sts) : json_null(), "dane", dane));
}

static void on_route(void *ctx, json_t *answer) {
    struct part *p = ctx;
    struct message *m = p->message;
    struct delivery *d = m->delivery;
    const char *result = json_string_value(json_object_get(answer, "result")),
               *reason = json_string_value(json_object_get(answer, "reason"));
    if (!reason) reason = "";
    if (!message_may_go_on(m) || service_is_draining()) {
        part_end(p);
        return;
    }
    if (!result) { /* a fault of this site */
        settle_part(p, (struct outcome){.kind = OUTCOME_DEFERRED,
                                        .code = 451,
                                        .enhanced = "4.4.3",
                                        .reason = "the domain's servers cannot be looked up now",
                                        .retry_ms = pause_of(m),
                                        .not_counted = true});
        return;
    }
    p->route = json_incref(answer);
    tls_fact_tell_left_out(d, m->envelope->id, p->route, p->domain);
    if (strcmp(result, "null_mx") == 0) {
        settle_part(p, (struct outcome){.kind = OUTCOME_BOUNCED,
                                        .code = 556,
                                        .enhanced = "5.1.10",
                                        .reason = "the domain takes no mail: it publishes a null MX (RFC 7505)"});
    } else if (strcmp(result, "nxdomain") == 0) {
        settle_part(p,
                    (struct outcome){.kind = OUTCOME_BOUNCED,
                                     .code = 550,
                                     .enhanced = "5.1.2",
                                     .reason = *reason ? reason : "the domain does not exist, or has no mail servers"});
    } else if (strcmp(result, "ok") != 0) {
        settle_part(p, (struct outcome){.kind = OUTCOME_DEFERRED,
                                        .code = 451,
                                        .enhanced = "4.4.3",
                                        .reason = *reason ? reason : "DNS gives no answer"});
    } else {
        tell_route(p);
        if (m->waives < 0 && !m->envelope->require_tls && destination_route_demands_tls(p->route))
            blob_read(d->worker->redis, slice_of(m->envelope->id), NULL, on_message, p);
        else
            hand_over(p);
    }
}

static bool is_open(const struct envelope_rcpt *r) { return r->state == RCPT_DUE || r->state == RCPT_DEFERRED; }

/* Starts the recipients that are open and due at `now`; returns their number. */
static size_t start_due(struct message *m, int64_t now) {
    const struct envelope *e = m->envelope;
    size_t *group = memory_alloc((e->rcpt_count + 1) * sizeof *group), started = 0;
    for (size_t i = 0; i < e->rcpt_count; i++) {
        const struct envelope_rcpt *r = &e->rcpts[i];
        if (m->progress[i].in_work || !is_open(r) || (r->state == RCPT_DEFERRED && r->next_ms > now)) continue;
        started++;
        m->progress[i].in_work = true;
        bool asked_for = r->state == RCPT_DEFERRED && r->next_ms == 0; /* a retry was requested */
        if (r->user.n) {
            local_deliver(m->delivery->locals, &m->owner, i);
            continue;
        }
        struct slice domain = envelope_domain(r->address);
        size_t n = 0;
        for (size_t k = i; k < e->rcpt_count; k++) {
            const struct envelope_rcpt *other = &e->rcpts[k];
            if ((k != i && m->progress[k].in_work) || other->user.n || !is_open(other) ||
                (other->state == RCPT_DEFERRED && other->next_ms > now) ||
                !slice_equal_nocase(envelope_domain(other->address), domain))
                continue;
            m->progress[k].in_work = true;
            group[n++] = k;
        }
        struct part *p = memory_alloc(sizeof *p);
        *p = (struct part){.message = m, .domain = memory_copy(domain), .forced = asked_for, .count = n};
        p->indexes = memory_alloc((n + 1) * sizeof *p->indexes);
        memcpy(p->indexes, group, n * sizeof *group);
        m->owner.began(m);
        route_ask(m->delivery->routes, domain, on_route, p);
    }
    free(group);
    return started;
}

/* The time of the next deferred recipient; 0: none is waiting. */
static int64_t next_due(const struct message *m) {
    int64_t next = 0;
    for (size_t i = 0; i < m->envelope->rcpt_count; i++) {
        const struct envelope_rcpt *r = &m->envelope->rcpts[i];
        if (r->state == RCPT_DEFERRED && !m->progress[i].in_work && (!next || r->next_ms < next)) next = r->next_ms;
    }
    return next;
}

void parts_start(struct message *m) {
    int64_t now = clock_wall_ms(), next = next_due(m);
    if (start_due(m, now + DELIVERY_CLOCK_MS))
        return; /* recipients that are due in a moment are
                   included */
    /* The store's clock is ahead of this machine's: without this, the entry would be released and
     * leased repeatedly. An entry that was leased for an owed report, or whose worker was killed,
     * has its recipients' times further ahead. */
    if (next && next - now < CLOCKS_APART_MS) start_due(m, next);
}

int64_t parts_start_due(struct message *m) {
    start_due(m, clock_wall_ms());
    return next_due(m);
}
