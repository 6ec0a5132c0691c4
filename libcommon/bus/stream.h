/* JetStream: streams, in which NATS keeps events for some days, and consumers, from which all replicas of a service
 * take them once each.
 *
 * Calls marked "waits" wait for NATS up to BUS_STREAM_WAIT_MS a question; they run on a thread of the pool
 * (service_offload), one at a time for each consumer. All others run on the loop. */
#ifndef POSTBUS_BUS_STREAM_H
#define POSTBUS_BUS_STREAM_H

#include "libcommon/base/buf.h"
#include "libcommon/bus/bus.h"

enum { BUS_STREAM_WAIT_MS = 5000 };

enum bus_stream_error {
    BUS_STREAM_OK = 0,
    BUS_STREAM_UNAVAILABLE = -1, /* NATS did not answer, or answered an error */
    BUS_STREAM_GONE = -2,        /* there is no such stream (now) */
};

struct bus_stream_config {
    const char *name;     /* "POSTBUS_MAIL" */
    const char *subjects; /* "postbus.mail.>" */
    int64_t keep_seconds;
};
/* Waits. Makes the stream where it does not exist; *made tells. Adds the reason of an error to why. */
int bus_stream_ensure(struct bus *b, const struct bus_stream_config *config, bool *made, struct buf *why);

/* event: the message as it was published. */
typedef void bus_stream_event_fn(void *ctx, struct slice event);
/* Waits. Gives the events of a subject (wildcards are allowed), oldest first, at most max. Nothing stays behind at the
 * server: no consumer is made. */
int bus_stream_read(struct bus *b, const char *stream, const char *subject, size_t max, bus_stream_event_fn *each,
                    void *ctx);

struct bus_consumer_config {
    const char *stream, *name;
    const char **subjects; /* of the stream, those that it takes */
    size_t subject_count;
    int64_t ack_seconds; /* an event that is not acknowledged for so long comes again */
};
/* A durable consumer: one for all who use its name. config and what it points to must outlive it. */
struct bus_consumer;
struct bus_consumer *bus_consumer_create(struct bus *b, const struct bus_consumer_config *config);
void bus_consumer_destroy(struct bus_consumer *c);

/* Waits. Takes the next events, at most max, for at most wait_ms when there are none. The batch before must have been
 * released. After an error, and with no events, the next call begins anew. */
int bus_consumer_fetch(struct bus_consumer *c, int max, int wait_ms);
/* The events of the last fetch. Their bytes are valid until the release. */
size_t bus_consumer_count(const struct bus_consumer *c);
struct slice bus_consumer_subject(const struct bus_consumer *c, size_t i);
struct slice bus_consumer_event(const struct bus_consumer *c, size_t i);
/* Whether there may be more than was fetched: false only when the stream held nothing more for this consumer, and all
 * that was taken by anyone is acknowledged. */
bool bus_consumer_is_behind(const struct bus_consumer *c);
/* The event is dealt with and does not come again. */
void bus_consumer_ack(struct bus_consumer *c, size_t i);
/* Frees the batch. Events that were not acknowledged come again. */
void bus_consumer_release(struct bus_consumer *c);

#endif
