/* The stream POSTBUS_MAIL, which keeps what happened to every message for some days, and the reading of one message's
 * events from it. The library's JetStream calls wait for their answers, so they run on the pool's threads. NATS may
 * lose a stream (its disk, a kill): it is looked for again every minute and made anew. */
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/log.h"
#include "libcommon/base/ulid.h"
#include "services/admin/admin.h"

#define STREAM "POSTBUS_MAIL"
enum { STREAM_DAYS = 7, CALL_MS = 5000, LOOK_SECONDS = 60, LOOK_AGAIN_SECONDS = 2 };

static bool context(jsCtx **js, natsConnection *connection) {
    jsOptions options;
    jsOptions_Init(&options);
    options.Wait = CALL_MS;
    return natsConnection_JetStream(js, connection, &options) == NATS_OK;
}

/* The stream
 * -----------------------------------------------------------------------------------------------------------------------------------
 */

struct look {
    struct admin *admin;
    natsConnection *connection;
    bool there, made;
    char why[128];
};

static void look_for_stream(void *job) { /* on a pool thread */
    struct look *l = job;
    jsCtx *js = NULL;
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    if (!context(&js, l->connection)) return;
    natsStatus status = js_GetStreamInfo(&info, js, STREAM, NULL, &code);
    if (status == NATS_NOT_FOUND) {
        const char *subjects[] = {"postbus.mail.>"};
        jsStreamConfig config;
        jsStreamConfig_Init(&config);
        config.Name = STREAM;
        config.Subjects = subjects;
        config.SubjectsLen = 1;
        config.Storage = js_FileStorage;
        config.MaxAge = (int64_t)STREAM_DAYS * 24 * 3600 * 1000000000;
        config.AllowDirect = true;
        status = js_AddStream(&info, js, &config, NULL, &code);
        l->made = status == NATS_OK;
    }
    l->there = status == NATS_OK;
    if (!l->there) snprintf(l->why, sizeof l->why, "%s (JetStream %d)", natsStatus_GetText(status), (int)code);
    jsStreamInfo_Destroy(info);
    jsCtx_Destroy(js);
}

static void looked(void *job) {
    struct look *l = job;
    struct admin *a = l->admin;
    if (l->made) log_info("the stream of mail events was made", "stream", STREAM, NULL);
    if (!l->there) log_warn("the stream of mail events cannot be reached", "stream", STREAM, "reason", l->why, NULL);
    a->journal_ready = l->there;
    a->journal_busy = false;
    struct timeval again = {.tv_sec = l->there ? LOOK_SECONDS : LOOK_AGAIN_SECONDS};
    if (a->journal_clock) evtimer_add(a->journal_clock, &again);
    free(l);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct admin *a = ctx;
    (void)fd, (void)what;
    if (a->journal_busy) return;
    if (!bus_is_ready(a->worker->bus)) {
        struct timeval soon = {.tv_usec = 200000};
        a->journal_ready = false;
        evtimer_add(a->journal_clock, &soon);
        return;
    }
    struct look *l = memory_alloc(sizeof *l);
    l->admin = a;
    l->connection = bus_connection(a->worker->bus);
    a->journal_busy = true;
    service_offload(a->worker, look_for_stream, looked, l);
}

void journal_start(struct admin *a) {
    struct timeval now = {0};
    a->journal_clock = evtimer_new(a->worker->base, on_clock, a);
    evtimer_add(a->journal_clock, &now);
}

void journal_stop(struct admin *a) {
    event_free(a->journal_clock);
    a->journal_clock = NULL;
}

/* A message's events
 * -------------------------------------------------------------------------------------------------------------------------------------
 */

struct reading {
    struct request *request;
    journal_fn *then;
    natsConnection *connection;
    char subject[64];
    json_t *events;
    bool failed, lost;
};

/* One direct get a message, each the next of this subject after the one before: no consumer is made, nothing stays
 * behind. */
static void read_events(void *job) { /* on a pool thread */
    struct reading *g = job;
    jsCtx *js = NULL;
    uint64_t sequence = 1;
    if (!context(&js, g->connection)) {
        g->failed = true;
        return;
    }
    while (json_array_size(g->events) < JOURNEY_EVENTS_MAX) {
        jsDirectGetMsgOptions which;
        jsDirectGetMsgOptions_Init(&which);
        which.Sequence = sequence;
        which.NextBySubject = g->subject;
        natsMsg *msg = NULL;
        natsStatus status = js_DirectGetMsg(&msg, js, STREAM, NULL, &which);
        if (status != NATS_OK) {
            g->lost = status == NATS_NO_RESPONDERS;
            g->failed = status != NATS_NOT_FOUND;
            break;
        }
        json_t *event = json_loadb(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg), 0, NULL);
        if (event) json_array_append_new(g->events, event);
        sequence = natsMsg_GetSequence(msg) + 1;
        natsMsg_Destroy(msg);
    }
    jsCtx_Destroy(js);
}

static void events_read(void *job) {
    struct reading *g = job;
    struct request *r = g->request;
    if (g->lost) r->admin->journal_ready = false;
    if (g->failed)
        request_problem(r, 503, "the stream of mail events cannot be read now: try again");
    else if (json_array_size(g->events) == 0)
        request_problem(r, 404, "no event of this message is known: journeys are kept for 7 days");
    else
        g->then(r, g->events);
    json_decref(g->events);
    free(g);
}

void journal_read(struct request *r, journal_fn *then) {
    if (!ulid_is_valid(slice_of(r->part))) {
        request_problem(r, 400,
                        "this is not a message id: 26 characters as in the Received field or the reply to DATA");
        return;
    }
    if (!bus_is_ready(r->admin->worker->bus)) {
        request_problem(r, 503, "the bus cannot be reached: try again");
        return;
    }
    struct reading *g = memory_alloc(sizeof *g);
    g->request = r;
    g->then = then;
    g->connection = bus_connection(r->admin->worker->bus);
    g->events = json_array();
    snprintf(g->subject, sizeof g->subject, "postbus.mail.*.%s", r->part);
    service_offload(r->admin->worker, read_events, events_read, g);
}

static void answer_journey(struct request *r, const json_t *events) {
    request_answer(r, 200, json_pack("{s:s,s:o}", "id", r->part, "steps", journey_steps(events)));
}

void journey_get(struct request *r) { journal_read(r, answer_journey); }
