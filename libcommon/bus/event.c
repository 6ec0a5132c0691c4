/* CloudEvents 1.0 in JSON (structured mode) on postbus.<event>.<about>. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/ulid.h"
#include "libcommon/bus/bus_private.h"

struct listener {
    bus_event_fn *heard;
    void *ctx;
};

struct bus_subscription {
    struct handler *handler;
    struct listener listener;
};

static int add_json(const char *bytes, size_t n, void *ctx) {
    buf_add(ctx, bytes, n);
    return 0;
}

void bus_publish(struct bus *b, const char *event, struct slice about, json_t *data) {
    char subject[SUBJECT_MAX], id[ULID_BYTES], when[CLOCK_TEXT_BYTES];
    if (snprintf(subject, sizeof subject, "postbus.%s.%.*s", event, SLICE_FMT(about)) < (int)sizeof subject) {
        ulid_create(id);
        buf_reset(&b->scratch);
        buf_printf(&b->scratch,
                   "{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"%s\",\"type\":\"postbus.%s\",\"subject\":\"%.*"
                   "s\",\"time\":\"%s\",\"datacontenttype\":"
                   "\"application/json\",\"data\":",
                   id, b->source, event, SLICE_FMT(about), clock_rfc3339(clock_wall_ms(), when));
        json_dump_callback(data, add_json, &b->scratch, JSON_COMPACT);
        buf_add_char(&b->scratch, '}');
        bus_send(b, subject, NULL, buf_slice(&b->scratch));
    }
    json_decref(data);
}

static void on_event(void *ctx, natsMsg *msg) {
    struct listener *l = ctx;
    json_t *event = json_loadb(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg), 0, NULL);
    const json_t *data = json_object_get(event, "data");
    if (data) {
        struct slice subject = slice_of(natsMsg_GetSubject(msg));
        l->heard(l->ctx, slice_skip(subject, (size_t)(slice_find_last(subject, '.') + 1)), data);
    } else {
        log_warn("an event that is no CloudEvent was ignored", "subject", natsMsg_GetSubject(msg), NULL);
    }
    json_decref(event);
}

static struct handler *listen_on(struct bus *b, const char *event, bool group, struct listener *l) {
    char subject[SUBJECT_MAX];
    snprintf(subject, sizeof subject, "postbus.%s", event);
    return handler_create(b, subject, group ? b->service : NULL, on_event, l);
}

void bus_hear(struct bus *b, const char *event, bool group, bus_event_fn *heard, void *ctx) {
    struct bus_subscription *s = memory_alloc(sizeof *s);
    s->listener = (struct listener){heard, ctx};
    s->handler = listen_on(b, event, group, &s->listener);
    if (s->handler) s->handler->permanent = s;
}

struct bus_subscription *bus_subscribe(struct bus *b, const char *event, bus_event_fn *heard, void *ctx) {
    struct bus_subscription *s = memory_alloc(sizeof *s);
    s->listener = (struct listener){heard, ctx};
    s->handler = listen_on(b, event, false, &s->listener);
    return s;
}

void bus_unsubscribe(struct bus_subscription *s) {
    if (!s) return;
    handler_cancel(s->handler); /* cancelled: the listener is never called again, so it can go now */
    free(s);
}
