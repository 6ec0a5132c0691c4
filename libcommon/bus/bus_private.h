/* Shared declarations of the files of this folder; private to them. */
#ifndef POSTBUS_BUS_PRIVATE_H
#define POSTBUS_BUS_PRIVATE_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"
#include "libcommon/base/cost.h"
#include "libcommon/base/log.h"
#include "libcommon/bus/bus.h"

/* SPENT_*: handled messages, which are freed together. */
enum { SUBJECT_MAX = 256, BUS_PAYLOAD_MAX = 900 * 1024, SPENT_MAX = 64, SPENT_BYTES_MAX = 256 * 1024 };

/* Called on the loop with each message of a subscription; owns msg no longer than the call. */
typedef void handler_fn(void *ctx, natsMsg *msg);

/* One subscription of the NATS library and its handler. Exists until the library has reported that
 * no more messages will arrive.
 *
 * Requests and replies, which are frequent and have few subscriptions, are direct: the loop handles
 * their messages when it reads them. Events may have thousands of subscriptions (one for each
 * session), which the loop cannot check after each read; a thread of the library passes on their
 * messages. */
struct handler {
    struct bus *bus;
    bool direct;
    struct handler *next_direct;
    natsSubscription *subscription;
    handler_fn *fn;
    void *ctx;
    bool cancelled;  /* read and written on the loop only */
    void *permanent; /* memory that is freed with the handler; NULL: none */
    struct handler *next, *previous;
};

/* A callback of bus_follow. */
struct follower {
    struct follower *next;
    bus_missed_fn *missed;
    void *ctx;
};

/* A message (or, with msg NULL, the end of a handler) that is passed from the library's thread to
 * the loop. */
struct handover {
    struct handover *next;
    struct handler *handler;
    natsMsg *msg;
};

struct request {
    uint64_t ticket; /* 0: free slot */
    int64_t deadline_us;
    bus_reply_fn *done; /* one of done and text is set */
    bus_text_fn *text;
    void *ctx;
};

struct bus {
    bool is_closed; /* bus_close() was called */
    struct event_base *base;
    natsConnection *connection;
    natsOptions *options;
    char service[32], inbox[96];
    char source[256];
    _Atomic bool ready, closed; /* closed: the library makes no more callbacks */
    _Atomic bool writing;       /* the library has bytes for the socket */
    _Atomic bool flush_late;    /* the flush has been queued after the other callbacks */
    _Atomic bool lost;          /* the connection was lost since it was last reported as ready */
    _Atomic bool missed;        /* events may have been lost; the followers are to be told */
    struct follower *followers;
    struct handler *handlers, *direct;
    natsMsg *spent[SPENT_MAX];
    size_t spent_count, spent_bytes;

    pthread_mutex_t lock; /* guards first and last */
    struct handover *first, *last;
    int wake_fd;
    struct event *wake, *take, *flush; /* take: messages were read for direct handlers */

    struct request *requests; /* slots; a ticket is generation * slots_max + slot */
    size_t slots, in_flight;
    size_t next_free;
    uint64_t generation;
    struct event *clock;
    struct request *refused; /* requests that could not be sent; their callbacks are called from the
                                loop */
    size_t refused_count;
    struct event *refuse;
    struct buf scratch, event; /* the JSON of a request, an answer or an event's data; an event
                                  around it */
    struct wakes *wakes;       /* wake.c; NULL until the first one */
};

struct handler *handler_create(struct bus *b, const char *subject, const char *group, handler_fn *fn, void *ctx);
/* A direct one, which lives as long as the bus. */
struct handler *handler_create_direct(struct bus *b, const char *subject, const char *group, handler_fn *fn, void *ctx);
void handler_cancel(struct handler *h);
/* Publishes bytes; 0 or -1. */
int bus_send(struct bus *b, const char *subject, const char *reply_to, struct slice bytes);
/* A message's payload. */
struct slice bus_bytes(const natsMsg *msg);
/* The JSON in bytes, NULL when they are not JSON. */
json_t *bus_decode(struct slice bytes);
/* JSON into b->scratch. */
struct slice bus_json(struct bus *b, const json_t *value);

void wakes_destroy(struct wakes *w); /* NULL is allowed */

void rpc_start(struct bus *b);
void rpc_stop(struct bus *b);
void rpc_free(struct bus *b);

#endif
