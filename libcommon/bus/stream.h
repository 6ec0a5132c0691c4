/* JetStream: streams, in which NATS keeps events for some days, and consumers, which deliver each
 * event to one replica of a service.
 *
 * Functions marked "waits" block for up to BUS_STREAM_WAIT_MS for each request to NATS; they must
 * run on a thread of the pool (service_offload), one at a time for each consumer. All others run on
 * the loop. */
#ifndef POSTBUS_BUS_STREAM_H
#define POSTBUS_BUS_STREAM_H

#include "libcommon/base/buf.h"
#include "libcommon/bus/bus.h"

enum { BUS_STREAM_WAIT_MS = 5000 };

enum bus_stream_error {
    BUS_STREAM_OK = 0,
    BUS_STREAM_UNAVAILABLE = -1, /* NATS did not answer, or answered an error */
    BUS_STREAM_GONE = -2,        /* the stream does not exist */
};

struct bus_stream_config {
    const char *name;     /* "POSTBUS_MAIL" */
    const char *subjects; /* "postbus.mail.>" */
    int64_t keep_seconds;
};
/* Waits. Creates the stream if it does not exist; *made: whether it did. Adds the reason of an
 * error to why. */
int bus_stream_ensure(struct bus *b, const struct bus_stream_config *config, bool *made, struct buf *why);

/* event: the published message. */
typedef void bus_stream_event_fn(void *ctx, struct slice event);
/* Waits. Reads the events of a subject (wildcards are allowed), oldest first, at most max. No
 * consumer is created at the server. */
int bus_stream_read(struct bus *b, const char *stream, const char *subject, size_t max, bus_stream_event_fn *each,
                    void *ctx);

struct bus_consumer_config {
    const char *stream, *name;
    const char **subjects; /* of the stream, those that it takes */
    size_t subject_count;
    int64_t ack_seconds; /* an event that is not acknowledged for this time is delivered again */
};
/* A durable consumer: one for all who use its name. config and what it points to must outlive
 * it. */
struct bus_consumer;
struct bus_consumer *bus_consumer_create(struct bus *b, const struct bus_consumer_config *config);
void bus_consumer_destroy(struct bus_consumer *c);

/* Waits. Fetches the next events, at most max, and waits at most wait_ms when there are none. The
 * previous batch must have been released. After an error, the next call starts again. */
int bus_consumer_fetch(struct bus_consumer *c, int max, int wait_ms);
/* The events of the last fetch. Their bytes are valid until the release. */
size_t bus_consumer_count(const struct bus_consumer *c);
struct slice bus_consumer_subject(const struct bus_consumer *c, size_t i);
struct slice bus_consumer_event(const struct bus_consumer *c, size_t i);
/* Whether there may be further events: false only when the stream has no more for this consumer and
 * all delivered events are acknowledged. */
bool bus_consumer_is_behind(const struct bus_consumer *c);
/* The event has been handled and is not delivered again. */
void bus_consumer_ack(struct bus_consumer *c, size_t i);
/* Frees the batch. Events that were not acknowledged are delivered again. */
void bus_consumer_release(struct bus_consumer *c);

#endif
