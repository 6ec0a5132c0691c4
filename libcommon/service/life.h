/* The one lifetime rule of a session, or of anything else on a loop that waits for answers:
 *
 *   - it runs from its loop only: whatever happens to it (bytes, an answer, a timer) wakes it, and its run() is called
 * once in that turn of the loop however often it was woken; no callback goes on with the next command from within;
 *   - each answer that it waits for holds it; once it has ended, its run() is not called any more, and it is freed as
 *     soon as nothing holds it, from the loop.
 *
 * So a callback may end the session it belongs to, and a session may end while an answer is on its way. */
#ifndef POSTBUS_SERVICE_LIFE_H
#define POSTBUS_SERVICE_LIFE_H

#include <event2/event.h>
#include <stdbool.h>

typedef void life_fn(void *ctx);

/* Part of the session's own struct; its fields are life.c's. */
struct life {
    struct event *wake;
    life_fn *run, *destroy;
    void *ctx;
    int holds;
    bool ended;
};

/* run: goes on with whatever can go on. destroy: frees ctx, which holds this struct. */
void life_start(struct life *l, struct event_base *base, life_fn *run, life_fn *destroy, void *ctx);
/* run() is called in this turn of the loop. */
void life_wake(struct life *l);
/* An answer is on its way whose callback uses the session: it stays until life_release. */
void life_hold(struct life *l);
/* The answer came: the session goes on, or, if it has ended and nothing else holds it, is freed soon. */
void life_release(struct life *l);
/* The session is over: run() is not called any more. Calling it twice changes nothing. */
void life_end(struct life *l);
/* For answers that come after the end. */
bool life_has_ended(const struct life *l);
/* At a worker's stop, after everything that could answer is gone: frees the session at once, whatever holds it. */
void life_destroy_now(struct life *l);

#endif
