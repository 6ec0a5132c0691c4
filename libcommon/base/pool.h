/* The process's pool of threads, for what would hold a loop: costly computations and the disk.
 *
 * A loop has a home in the pool: its jobs run on any thread, in the order in which they were given,
 * and come back to the home, in the order in which they ended. Threads are created when there is
 * work for them and none is free, up to the number that was asked for, and stay. */
#ifndef POSTBUS_BASE_POOL_H
#define POSTBUS_BASE_POOL_H

#include <stdbool.h>

/* The pool may have at least this many threads; without a call it has one. */
void pool_threads(int count);

struct pool_home;
/* wake is called on a thread of the pool when a job has ended: it makes the loop call pool_finish
 * soon. It must not call anything of this header. */
struct pool_home *pool_home_create(void (*wake)(void *ctx), void *ctx);
/* Runs run(job) on a thread, then done(job) in pool_finish. Called by the home's loop. */
void pool_run(struct pool_home *h, void (*run)(void *job), void (*done)(void *job), void *job);
/* On the home's loop: calls done() of the jobs that have ended. true: there was one. */
bool pool_finish(struct pool_home *h);
/* Waits until none of its jobs waits for a thread or is on one. */
void pool_home_wait(struct pool_home *h);
/* Neither wake() nor done() is called any more. A job that is still on a thread runs to its end, and
 * what it has is not freed: it can only be of a process that ends. */
void pool_home_destroy(struct pool_home *h);

#endif
