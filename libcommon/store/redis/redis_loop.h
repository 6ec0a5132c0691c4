/* hiredis on a libevent loop. It replaces hiredis' own adapter: the commands of one turn of the
 * loop are sent in one write at its end, as in bus.c. The adapter waits until the socket is
 * writable, which needs four epoll_ctl and one more turn of the loop for each write. */
#ifndef POSTBUS_STORE_REDIS_LOOP_H
#define POSTBUS_STORE_REDIS_LOOP_H

#include <event2/event.h>
#include <hiredis/async.h>

/* Once for each context, before its first command. hiredis frees it with the context. */
void redis_loop_attach(redisAsyncContext *context, struct event_base *base);

#endif
