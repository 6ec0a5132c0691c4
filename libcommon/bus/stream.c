#include "libcommon/bus/stream.h"

#include <stdlib.h>

#include "libcommon/bus/bus_private.h"

static bool open_context(jsCtx **js, struct bus *b) {
    jsOptions options;
    jsOptions_Init(&options);
    options.Wait = BUS_STREAM_WAIT_MS;
    return natsConnection_JetStream(js, b->connection, &options) == NATS_OK;
}

int bus_stream_ensure(struct bus *b, const struct bus_stream_config *config, bool *made, struct buf *why) {
    jsCtx *js = NULL;
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    *made = false;
    if (!open_context(&js, b)) return BUS_STREAM_UNAVAILABLE;
    natsStatus status = js_GetStreamInfo(&info, js, config->name, NULL, &code);
    if (status == NATS_NOT_FOUND) {
        const char *subjects[] = {config->subjects};
        jsStreamConfig c;
        jsStreamConfig_Init(&c);
        c.Name = config->name;
        c.Subjects = subjects;
        c.SubjectsLen = 1;
        c.Storage = js_FileStorage;
        c.MaxAge = config->keep_seconds * 1000000000;
        c.AllowDirect = true;
        status = js_AddStream(&info, js, &c, NULL, &code);
        *made = status == NATS_OK;
    }
    if (status != NATS_OK) buf_printf(why, "%s (JetStream %d)", natsStatus_GetText(status), (int)code);
    jsStreamInfo_Destroy(info);
    jsCtx_Destroy(js);
    return status == NATS_OK ? BUS_STREAM_OK : BUS_STREAM_UNAVAILABLE;
}

int bus_stream_read(struct bus *b, const char *stream, const char *subject, size_t max, bus_stream_event_fn *each,
                    void *ctx) {
    jsCtx *js = NULL;
    uint64_t sequence = 1;
    natsStatus status = NATS_OK;
    if (!open_context(&js, b)) return BUS_STREAM_UNAVAILABLE;
    /* one direct get an event, each the next of this subject after the one before */
    for (size_t i = 0; i < max && status == NATS_OK; i++) {
        jsDirectGetMsgOptions which;
        natsMsg *msg = NULL;
        jsDirectGetMsgOptions_Init(&which);
        which.Sequence = sequence;
        which.NextBySubject = subject;
        status = js_DirectGetMsg(&msg, js, stream, NULL, &which);
        if (status != NATS_OK) break;
        each(ctx, bus_bytes(msg));
        sequence = natsMsg_GetSequence(msg) + 1;
        natsMsg_Destroy(msg);
    }
    jsCtx_Destroy(js);
    if (status == NATS_NO_RESPONDERS) return BUS_STREAM_GONE;
    return status == NATS_OK || status == NATS_NOT_FOUND ? BUS_STREAM_OK : BUS_STREAM_UNAVAILABLE;
}

/* Consumers */

struct bus_consumer {
    struct bus *bus;
    const struct bus_consumer_config *config;
    jsCtx *js;
    natsSubscription *subscription; /* NULL: not attached to the consumer */
    natsMsgList batch;
    bool behind;
};

struct bus_consumer *bus_consumer_create(struct bus *b, const struct bus_consumer_config *config) {
    struct bus_consumer *c = memory_alloc(sizeof *c);
    c->bus = b;
    c->config = config;
    c->behind = true;
    return c;
}

static void detach(struct bus_consumer *c) {
    natsSubscription_Destroy(c->subscription);
    jsCtx_Destroy(c->js);
    c->subscription = NULL;
    c->js = NULL;
}

void bus_consumer_destroy(struct bus_consumer *c) {
    if (!c) return;
    bus_consumer_release(c);
    detach(c);
    free(c);
}

static bool attach(struct bus_consumer *c) {
    jsConsumerConfig config;
    jsSubOptions bind;
    if (!open_context(&c->js, c->bus)) return false;
    jsConsumerConfig_Init(&config);
    config.Durable = c->config->name;
    config.FilterSubjects = c->config->subjects;
    config.FilterSubjectsLen = (int)c->config->subject_count;
    config.AckPolicy = js_AckExplicit;
    config.AckWait = c->config->ack_seconds * 1000000000;
    config.DeliverPolicy = js_DeliverAll;
    if (js_AddConsumer(NULL, c->js, c->config->stream, &config, NULL, NULL) != NATS_OK) return false;
    jsSubOptions_Init(&bind);
    bind.Stream = c->config->stream;
    bind.Consumer = c->config->name;
    return js_PullSubscribe(&c->subscription, c->js, NULL, NULL, NULL, &bind, NULL) == NATS_OK;
}

/* No events arrived: checks whether there are more. */
static bool look_behind(struct bus_consumer *c) {
    jsConsumerInfo *info = NULL;
    if (js_GetConsumerInfo(&info, c->js, c->config->stream, c->config->name, NULL, NULL) != NATS_OK) return false;
    c->behind = info->NumPending || info->NumAckPending;
    jsConsumerInfo_Destroy(info);
    return true;
}

int bus_consumer_fetch(struct bus_consumer *c, int max, int wait_ms) {
    c->behind = true;
    bool works = c->subscription || attach(c);
    if (works) {
        natsStatus status = natsSubscription_Fetch(&c->batch, c->subscription, max, wait_ms, NULL);
        if (c->batch.Count) return BUS_STREAM_OK;
        works = (status == NATS_OK || status == NATS_TIMEOUT) && look_behind(c);
    }
    if (!works)
        detach(c); /* the stream or the consumer no longer exists, or NATS is not
                      available */
    return works ? BUS_STREAM_OK : BUS_STREAM_UNAVAILABLE;
}

size_t bus_consumer_count(const struct bus_consumer *c) { return (size_t)c->batch.Count; }

struct slice bus_consumer_subject(const struct bus_consumer *c, size_t i) {
    return slice_of(natsMsg_GetSubject(c->batch.Msgs[i]));
}

struct slice bus_consumer_event(const struct bus_consumer *c, size_t i) { return bus_bytes(c->batch.Msgs[i]); }

bool bus_consumer_is_behind(const struct bus_consumer *c) { return c->behind; }

void bus_consumer_ack(struct bus_consumer *c, size_t i) {
    cost_add(COST_BUS_SENT, 1);
    natsMsg_Ack(c->batch.Msgs[i], NULL);
}

void bus_consumer_release(struct bus_consumer *c) {
    cost_add(COST_BUS_RECEIVED, c->batch.Count);
    natsMsgList_Destroy(&c->batch);
    c->batch.Count = 0;
}
