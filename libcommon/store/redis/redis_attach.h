/* What a part of libcommon/store keeps beside the connection. Private to libcommon/store. */
#ifndef POSTBUS_STORE_REDIS_ATTACH_H
#define POSTBUS_STORE_REDIS_ATTACH_H

#include "libcommon/store/redis.h"

/* The loop of its callbacks. */
struct event_base *redis_base(const struct redis *r);
/* One object that lives as long as the connection: the access to the cold tier (cold_of). destroy()
 * is called when every waiting callback has had its NULL. redis_attached: NULL before. */
void redis_attach(struct redis *r, void *object, void (*destroy)(void *object));
void *redis_attached(const struct redis *r);

#endif
