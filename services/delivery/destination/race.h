/* A race of connections to the addresses of one host (RFC 8305 §5): each is tried 250 ms after the
 * previous one, or at once when that has failed; the first established connection wins, and the
 * others are closed. */
#ifndef POSTBUS_DELIVERY_RACE_H
#define POSTBUS_DELIVERY_RACE_H

#include "libcommon/net/stream.h"
#include "libcommon/service/life.h"
#include "services/delivery/destination/targets.h"

struct race {
    struct event_base *base;
    struct life *owner; /* woken when the race has ended */
    struct event *next;
    size_t count, begun, failed;
    struct racer {
        struct race *race;
        struct target *target;
        struct stream *stream;
        bool failed;
    } racers[DESTINATION_HOST_ADDRESSES];
    struct racer *winner;
    char why[160]; /* of the last failure */
};

/* A member of its owner's struct. targets: of one host, at most DESTINATION_HOST_ADDRESSES; each
 * gets `tried` when it failed or won. */
void race_start(struct race *r, struct event_base *base, struct life *owner, size_t count,
                struct target *const targets[]);
bool race_is_over(const struct race *r);
/* The winner's connection, which the caller then owns, and its target; NULL: all failed, with the
 * reason in r->why. */
struct stream *race_winner(struct race *r, struct target **target);
/* Closes running attempts. Also for a race that never started, or has ended. */
void race_stop(struct race *r);

#endif
