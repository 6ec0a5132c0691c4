/* hiredis on a libevent loop. As hiredis' own adapter, but the commands of one turn of the loop leave in one write at
 * its end, as the bus does it (bus.c): the adapter waits until the socket is writable, with four epoll_ctl and a turn
 * of the loop more for each write. */
#ifndef POSTBUS_STORE_REDIS_LOOP_H
#define POSTBUS_STORE_REDIS_LOOP_H

#include <event2/event.h>
#include <hiredis/async.h>

/* Once for each context, before its first command. hiredis frees it with the context. */
void redis_loop_attach(redisAsyncContext *context, struct event_base *base);

#endif
