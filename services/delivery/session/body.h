/* Message bodies in memory: read from the store when a server has accepted a recipient, shared by
 * all transactions of a message, and freed with the last of them. Their sum is bounded: further
 * bodies wait. */
#ifndef POSTBUS_DELIVERY_BODY_H
#define POSTBUS_DELIVERY_BODY_H

#include "libcommon/codec/envelope.h"
#include "libcommon/service/life.h"
#include "libcommon/store/redis.h"

struct bodies;
struct body;

/* One user of a body; zeroed: of none. */
struct body_use {
    struct body *body;
    struct life *life; /* woken when the body has been read, or cannot be read */
    struct body_use *next;
};

/* max: bytes of all bodies together; a single one larger than that is read alone. */
struct bodies *bodies_create(struct redis *r, size_t max);
/* Must be called after the store's connection was destroyed, when no answer can arrive. */
void bodies_destroy(struct bodies *all);

void body_want(struct bodies *all, struct body_use *use, const struct envelope *e, struct life *life);
/* 1: *text is the message, until body_drop; 0: not read yet; negative: an enum store_error. */
int body_state(const struct body_use *use, struct slice *text);
/* Also while it is being read, and for a zeroed use. */
void body_drop(struct bodies *all, struct body_use *use);
/* Bytes in memory or on their way, for tests and metrics. */
size_t bodies_bytes(const struct bodies *all);

#endif
