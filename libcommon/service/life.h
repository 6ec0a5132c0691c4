/* The lifetime rule of sessions and of other objects on a loop that wait for answers:
 *
 *   - An object runs only from its loop: every event (bytes, an answer, a timer) wakes it, and its
 *     run() is called once in that turn of the loop, even if it was woken several times. No
 *     callback starts the next command itself.
 *   - Each pending answer holds the object. After its end, run() is no longer called, and the
 *     object is freed from the loop as soon as nothing holds it.
 *
 * So a callback may end its own session, and a session may end while an answer is pending. */
#ifndef POSTBUS_SERVICE_LIFE_H
#define POSTBUS_SERVICE_LIFE_H

#include <event2/event.h>
#include <stdbool.h>

typedef void life_fn(void *ctx);

/* A member of the session's struct; its fields are private to life.c. */
struct life {
    struct event *wake;
    life_fn *run, *destroy;
    void *ctx;
    int holds;
    bool ended;
};

/* run: continues all work that can continue. destroy: frees ctx, which contains this struct. */
void life_start(struct life *l, struct event_base *base, life_fn *run, life_fn *destroy, void *ctx);
/* Causes a call of run() in this turn of the loop. */
void life_wake(struct life *l);
/* An answer is pending whose callback uses the session: the session is kept until life_release. */
void life_hold(struct life *l);
/* The answer has arrived: the session continues or, if it has ended and nothing else holds it, is
 * freed soon. */
void life_release(struct life *l);
/* Ends the session: run() is no longer called. A second call changes nothing. */
void life_end(struct life *l);
/* For answers that arrive after the end. */
bool life_has_ended(const struct life *l);
/* At a worker's stop, after everything that could answer was destroyed: frees the session at once,
 * even if it is held. */
void life_destroy_now(struct life *l);

#endif
