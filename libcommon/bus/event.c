/* CloudEvents 1.0 in JSON (structured mode) on postbus.<event>.<about>. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/ulid.h"
#include "libcommon/bus/bus_private.h"

/* One of heard and raw is set. */
struct listener {
    bus_event_fn *heard;
    bus_raw_fn *raw;
    void *ctx;
};

struct bus_subscription {
    struct handler *handler;
    struct listener listener;
};

void bus_publish_text(struct bus *b, const char *event, struct slice about, struct slice data) {
    char subject[SUBJECT_MAX], id[ULID_BYTES], when[CLOCK_TEXT_BYTES];
    if (snprintf(subject, sizeof subject, "postbus.%s.%.*s", event, SLICE_FMT(about)) >= (int)sizeof subject) return;
    ulid_create(id);
    buf_reset(&b->event);
    buf_printf(&b->event,
               "{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"%s\",\"type\":\"postbus.%s\",\"subject\":\"%.*s\","
               "\"time\":\"%s\",\"datacontenttype\":\"application/json\",\"data\":",
               id, b->source, event, SLICE_FMT(about), clock_rfc3339(clock_wall_ms(), when));
    buf_add_slice(&b->event, data);
    buf_add_char(&b->event, '}');
    bus_send(b, subject, NULL, buf_slice(&b->event));
}

void bus_publish(struct bus *b, const char *event, struct slice about, json_t *data) {
    bus_publish_text(b, event, about, bus_json(b, data));
    json_decref(data);
}

static struct slice last_token(natsMsg *msg) {
    struct slice subject = slice_of(natsMsg_GetSubject(msg));
    return slice_skip(subject, (size_t)(slice_find_last(subject, '.') + 1));
}

static void on_event(void *ctx, natsMsg *msg) {
    struct listener *l = ctx;
    struct slice bytes = bus_bytes(msg);
    if (l->raw) {
        l->raw(l->ctx, last_token(msg), bytes);
        return;
    }
    json_t *event = bus_decode(bytes);
    const json_t *data = json_object_get(event, "data");
    if (data)
        l->heard(l->ctx, last_token(msg), data);
    else
        log_warn("an event that is no CloudEvent was ignored", "subject", natsMsg_GetSubject(msg), NULL);
    json_decref(event);
}

/* These are few and live as long as the bus, so they are direct; sessions' subscriptions are
 * not. */
static void hear(struct bus *b, const char *event, bool group, struct listener one) {
    char subject[SUBJECT_MAX];
    struct listener *l = memory_alloc(sizeof *l);
    *l = one;
    snprintf(subject, sizeof subject, "postbus.%s", event);
    struct handler *h = handler_create_direct(b, subject, group ? b->service : NULL, on_event, l);
    if (h)
        h->permanent = l;
    else
        free(l);
}

void bus_hear(struct bus *b, const char *event, bool group, bus_event_fn *heard, void *ctx) {
    hear(b, event, group, (struct listener){.heard = heard, .ctx = ctx});
}

void bus_hear_raw(struct bus *b, const char *event, bool group, bus_raw_fn *heard, void *ctx) {
    hear(b, event, group, (struct listener){.raw = heard, .ctx = ctx});
}

void bus_follow(struct bus *b, const char *event, bus_event_fn *heard, bus_missed_fn *missed, void *ctx) {
    struct follower *f = memory_alloc(sizeof *f);
    *f = (struct follower){.next = b->followers, .missed = missed, .ctx = ctx};
    b->followers = f;
    bus_hear(b, event, false, heard, ctx);
}

static struct bus_subscription *subscribe(struct bus *b, const char *event, struct listener one) {
    char subject[SUBJECT_MAX];
    struct bus_subscription *s = memory_alloc(sizeof *s);
    s->listener = one;
    snprintf(subject, sizeof subject, "postbus.%s", event);
    s->handler = handler_create(b, subject, NULL, on_event, &s->listener);
    return s;
}

struct bus_subscription *bus_subscribe(struct bus *b, const char *event, bus_event_fn *heard, void *ctx) {
    return subscribe(b, event, (struct listener){.heard = heard, .ctx = ctx});
}

struct bus_subscription *bus_subscribe_raw(struct bus *b, const char *event, bus_raw_fn *heard, void *ctx) {
    return subscribe(b, event, (struct listener){.raw = heard, .ctx = ctx});
}

void bus_unsubscribe(struct bus_subscription *s) {
    if (!s) return;
    handler_cancel(s->handler); /* cancelled: the listener is never called again, so it can be freed
                                   now */
    free(s);
}
