/* The mailbox service: what is private to its folder.
 *
 * Bounds (law 7), with what the asker gets when one is met:
 *   requests in flight a worker   MAILBOX_REQUESTS_MAX, then `busy`
 *   bytes of bodies in flight     follow from that: a body is held from its reading to its Function only
 *   a mailbox                     its quota, then `over_quota` */
#ifndef POSTBUS_MAILBOX_SERVICE_H
#define POSTBUS_MAILBOX_SERVICE_H

#include "libcommon/base/arena.h"
#include "libcommon/base/ulid.h"
#include "libcommon/service/service.h"
#include "libcommon/store/mailbox.h"

enum { MAILBOX_REQUESTS_MAX = 1024 };

struct mailbox_worker {
    struct worker *worker;
    int requests; /* in flight */
    bool draining;
};

/* Whether one more request may begin; else the call was refused with `busy`. Each begun one ends with requests_end. */
bool requests_begin(struct mailbox_worker *m, struct bus_call *call);
void requests_end(struct mailbox_worker *m);
/* Refuses a call for what the store said. */
void refuse_store_error(struct bus_call *call, int error);
/* A member's text; empty when it is missing. */
struct slice ask_text(const json_t *ask, const char *name);
/* Says mailbox.changed. */
void say_changed(struct mailbox_worker *m, struct slice user, uint32_t folder, uint64_t modseq, const char *kind);

/* Each serves its verbs on the worker's bus. */
void deliver_serve(struct mailbox_worker *m);
void stat_serve(struct mailbox_worker *m);
void delete_serve(struct mailbox_worker *m);

#endif
