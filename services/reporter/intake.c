/* The durable consumer "reporter" of the stream POSTBUS_MAIL: each event of incoming mail and of
 * outgoing TLS, in batches. An event is acknowledged when its row is in the store, so that a kill
 * at any instruction loses nothing; a repeated event is counted once (report.lua). All replicas
 * share the consumer. Fetching blocks, so it runs on a pool thread, one fetch at a time. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/cost.h"
#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "libcommon/bus/stream.h"
#include "services/reporter/fact.h"
#include "services/reporter/reporter.h"

#define STREAM "POSTBUS_MAIL"
#define CONSUMER "reporter"
/* GATHER_MS: reports are sent once a day, so events may gather: taken in batches they cost NATS and
 * this service a fraction of what they cost one by one. */
enum { FETCH_MS = 100, GATHER_MS = 500, ACK_SECONDS = 10, PAUSE_MS = 1000 };

struct intake {
    struct reporter *reporter;
    struct bus_consumer *consumer;
    struct event *clock;
    bool failed;    /* the last fetch could not reach the stream */
    size_t waiting; /* rows of the batch that the store has not answered yet */
    bool store_failed;
    int64_t known_until; /* wall seconds: time at which the stream had no more events; 0: it has
                            some, or cannot be reached */
    int64_t asked_at;
    bool told; /* it was logged that the stream cannot be reached */
};

static void fetch(void *job) { /* on a pool thread */
    struct intake *in = job;
    in->failed = bus_consumer_fetch(in->consumer, INTAKE_BATCH, FETCH_MS) != BUS_STREAM_OK;
}

/* On the loop */

static void again(struct intake *in, int ms) {
    struct timeval wait = {ms / 1000, ms % 1000 * 1000};
    event_add(in->clock, &wait);
}

static void batch_done(struct intake *in) {
    struct reporter *r = in->reporter;
    bool full = bus_consumer_count(in->consumer) == INTAKE_BATCH;
    bus_consumer_release(in->consumer);
    r->fetching = false;
    again(in, in->store_failed ? PAUSE_MS : full ? 0 : GATHER_MS);
    in->store_failed = false;
    reporter_check_drained(r);
}

struct counting {
    struct intake *intake;
    size_t event; /* of the batch */
};

static void on_counted(void *ctx, int error, long long value) {
    struct counting *c = ctx;
    struct intake *in = c->intake;
    if (error) {
        in->store_failed = true; /* not acknowledged: it will be delivered again */
    } else {
        if (value == REPORT_COUNTED) metric_add(&reporter_counted, 1);
        if (value == REPORT_LATE) metric_add(&reporter_late, 1);
        if (value == REPORT_NO_ROOM)
            log_warn("a fact is not counted: there are too many domains with open reports", NULL);
        bus_consumer_ack(in->consumer, c->event);
    }
    free(c);
    if (--in->waiting == 0) batch_done(in);
}

/* Reports are not all sent at the same time: each domain has its own time within one further
 * delay. */
static int64_t spread(const char *domain, int64_t delay) {
    uint32_t hash = 2166136261U;
    for (const char *c = domain; *c; c++) hash = (hash ^ (unsigned char)*c) * 16777619U; /* FNV-1a */
    return delay ? (int64_t)(hash % (uint32_t)delay) : 0;
}

/* Counts a fact of this time; the event is acknowledged when that is done. */
static void count(struct intake *in, size_t event, const char *kind, const char *id, int64_t ms, const struct fact *f) {
    const struct settings *s = &in->reporter->settings;
    char *row = json_dumps(f->row, JSON_COMPACT | JSON_SORT_KEYS),
         *policy = json_dumps(f->policy, JSON_COMPACT | JSON_SORT_KEYS);
    struct report_fact fact = {.kind = kind, .domain = f->domain, .id = id, .policy = policy, .time = ms / 1000};
    if (!row) memory_exhausted();
    if (!policy) memory_exhausted();
    fact.start = fact.time - fact.time % s->interval;
    fact.end = fact.start + s->interval;
    fact.due = fact.end + s->delay + spread(f->domain, s->delay);
    if (strlen(row) > FACT_ROW_MAX) {
        log_warn("a fact is not counted: it is too large", "domain", f->domain, "id", id, NULL);
        bus_consumer_ack(in->consumer, event);
    } else {
        struct slice rows[] = {slice_of(row)};
        struct counting *c = memory_alloc(sizeof *c);
        *c = (struct counting){in, event};
        in->waiting++;
        report_count(in->reporter->worker->redis, &fact, 1, rows, on_counted, c);
    }
    free(row);
    free(policy);
}

/* Handles one event: false when there is nothing to count. */
static bool take_event(struct intake *in, size_t i, const json_t *event, const char *kind, const char *about) {
    const json_t *data = json_object_get(event, "data");
    const char *own_id = member_text_or_null(event, "id");
    struct fact f = {.policy = NULL};
    bool counted = false;
    if (strcmp(kind, "tls") == 0) {
        /* there may be several connections for one message: its id tells whether it is one of our
         * reports, the event's own id distinguishes them */
        char id[2 * ULID_BYTES];
        counted = own_id && ulid_is_valid(slice_of(own_id)) && fact_of_tls(data, &f);
        snprintf(id, sizeof id, "%s%s", about, counted ? own_id : "");
        if (counted) count(in, i, kind, id, ulid_ms(own_id), &f);
    } else {
        bool refused = strcmp(kind, "refused") == 0;
        if (in->reporter->settings.failures) failure_consider(in->reporter, about, data, refused);
        counted = fact_of_mail(data, refused, &f);
        if (counted) count(in, i, "dmarc", about, ulid_ms(about), &f);
    }
    fact_free(&f);
    return counted;
}

/* Whether a member of this name has a text. May return true wrongly, but never false. */
static bool has_text_member(struct slice event, struct slice name) {
    const char *at;
    while ((at = event.n ? memmem(event.p, event.n, name.p, name.n) : NULL)) {
        event = slice_skip(event, (size_t)(at - event.p) + name.n);
        struct slice value = slice_trim(event);
        if (!slice_starts(value, SLICE(":"))) continue;
        if (slice_starts(slice_trim(slice_skip(value, 1)), SLICE("\""))) return true;
    }
    return false;
}

/* Most domains publish no address for reports; their events are not decoded. */
static bool names_an_address(struct slice event) {
    return has_text_member(event, SLICE("\"rua\"")) || has_text_member(event, SLICE("\"ruf\""));
}

static void take(struct intake *in, size_t i) {
    static const char prefix[] = "postbus.mail.";
    struct slice about = slice_skip(bus_consumer_subject(in->consumer, i), sizeof prefix - 1), word,
                 bytes = bus_consumer_event(in->consumer, i);
    char kind[16];
    bool counted = false;
    if (names_an_address(bytes) && slice_cut(&about, '.', &word) && word.n < sizeof kind && ulid_is_valid(about)) {
        json_t *event = json_loadb(bytes.p, bytes.n, 0, NULL);
        cost_add(COST_JSON_READ, 1);
        snprintf(kind, sizeof kind, "%.*s", SLICE_FMT(word));
        counted = take_event(in, i, event, kind, about.p);
        json_decref(event);
    }
    if (!counted) bus_consumer_ack(in->consumer, i);
}

static void fetched(void *job) {
    struct intake *in = job;
    if (in->failed && !in->told)
        log_warn("the stream of mail events cannot be read; trying again", "stream", STREAM, NULL);
    if (!in->failed && in->told) log_info("the stream of mail events can be read again", "stream", STREAM, NULL);
    in->told = in->failed;
    in->known_until = bus_consumer_is_behind(in->consumer) ? 0 : in->asked_at;
    in->waiting = 1; /* kept above 0 while the batch is handled */
    for (size_t i = 0; i < bus_consumer_count(in->consumer); i++) take(in, i);
    if (in->failed) in->store_failed = true; /* a pause */
    if (--in->waiting == 0) batch_done(in);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct intake *in = ctx;
    (void)fd, (void)what;
    if (in->reporter->fetching || in->reporter->draining) return;
    if (!bus_is_ready(in->reporter->worker->bus) || !redis_is_ready(in->reporter->worker->redis)) {
        in->known_until = 0;
        again(in, PAUSE_MS / 4);
        return;
    }
    in->reporter->fetching = true;
    in->asked_at = clock_wall_ms() / 1000;
    service_offload(in->reporter->worker, fetch, fetched, in);
}

void intake_start(struct reporter *r) {
    static const char *subjects[] = {"postbus.mail.accepted.*", "postbus.mail.refused.*", "postbus.mail.tls.*"};
    static const struct bus_consumer_config config = {STREAM, CONSUMER, subjects, sizeof subjects / sizeof *subjects,
                                                      ACK_SECONDS};
    struct intake *in = memory_alloc(sizeof *in);
    in->reporter = r;
    in->consumer = bus_consumer_create(r->worker->bus, &config);
    r->intake = in;
    in->clock = evtimer_new(r->worker->base, on_clock, in);
    again(in, 0);
}

void intake_stop(struct reporter *r) {
    if (!r->intake) return;
    event_free(r->intake->clock);
    bus_consumer_destroy(r->intake->consumer);
    free(r->intake);
    r->intake = NULL;
}

int64_t intake_known_until(const struct reporter *r) { return r->intake ? r->intake->known_until : 0; }
