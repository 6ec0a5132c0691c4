/* The mailbox service: declarations private to its folder.
 *
 * Bounds (docs/laws.md, law 7), and the reply when one is reached:
 *   a request's messages, recipients, bytes   DELIVER_*_MAX in deliver.h, then `invalid`
 *   requests in flight a worker               MAILBOX_REQUESTS_MAX and MAILBOX_REQUEST_BYTES_MAX,
 *                                             then `busy`
 *   work handed to the store at once          WINDOW_MAX steps and WINDOW_BYTES_MAX of bodies and
 *                                             listings; the rest
 *                                             waits its turn, in the order in which it came
 *   a mailbox                                 its quota, then `over_quota` */
#ifndef POSTBUS_MAILBOX_SERVICE_H
#define POSTBUS_MAILBOX_SERVICE_H

#include "libcommon/base/arena.h"
#include "libcommon/base/ulid.h"
#include "libcommon/service/service.h"
#include "libcommon/store/mailbox.h"

enum {
    MAILBOX_REQUESTS_MAX = 1024,
    MAILBOX_REQUEST_BYTES_MAX = 32 * 1024 * 1024,
    WINDOW_MAX = 256,
    WINDOW_BYTES_MAX = 16 * 1024 * 1024,
};

/* One step of work for the store. It belongs to the caller that adds it, until its
 * window_done(). */
struct window_step {
    struct window_step *next;
    size_t cost; /* bytes that it has in flight */
    void (*start)(struct window_step *step);
};
struct window {
    struct window_step *first, *last; /* those that wait */
    size_t running, bytes;
};

struct mailbox_worker {
    struct worker *worker;
    int requests; /* in flight */
    size_t request_bytes;
    struct window window;
    struct janitor *janitor; /* NULL on all workers but the first */
    struct mover *mover;     /* the same; NULL without a cold tier */
    struct buf scratch;      /* the text of an event or a reply */
    bool draining;
};

/* Whether a further request of this many bytes may begin; otherwise the call was refused with
 * `busy`. Each request that began ends with requests_end of the same number. */
bool requests_begin(struct mailbox_worker *m, struct bus_call *call, size_t bytes);
void requests_end(struct mailbox_worker *m, size_t bytes);
/* Refuses a call because of a store error. */
void refuse_store_error(struct bus_call *call, int error);
/* Publishes mailbox.changed. */
void say_changed(struct mailbox_worker *m, struct slice user, uint32_t folder, uint64_t modseq, const char *kind);

/* Starts the step at once, or when there is room. start() must not call window_done() itself. */
void window_add(struct window *w, struct window_step *step);
/* The step has ended: its place is free, and others may start. */
void window_done(struct window *w, const struct window_step *step);

/* Each serves its verbs on the worker's bus. */
void deliver_serve(struct mailbox_worker *m);
void stat_serve(struct mailbox_worker *m);
void user_serve(struct mailbox_worker *m);

#endif
