#include "services/delivery/destination/race.h"

#include <stdio.h>

#include "libcommon/base/arena.h"

static void begin_next(struct race *r);

static void on_stream(void *ctx, struct stream *s, enum stream_event event) {
    struct racer *one = ctx;
    struct race *r = one->race;
    if (event == STREAM_CONNECTED && !r->winner) {
        r->winner = one;
        one->target->tried = true;
        life_wake(r->owner);
    } else if (event == STREAM_CLOSED && r->winner != one) {
        snprintf(r->why, sizeof r->why, "%s", stream_error(s));
        one->failed = one->target->tried = true;
        one->stream = NULL;
        stream_destroy(s);
        r->failed++;
        if (!r->winner) begin_next(r);
        life_wake(r->owner);
    }
}

/* Starts the next address, if one is left; otherwise the race continues with the running ones. */
static void begin_next(struct race *r) {
    if (r->winner || r->begun == r->count) return;
    struct racer *one = &r->racers[r->begun++];
    struct timeval wait = {DESTINATION_RACE_MS / 1000, DESTINATION_RACE_MS % 1000 * 1000};
    one->stream = stream_connect(r->base, (const struct sockaddr *)&one->target->address, one->target->address_n, NULL,
                                 0, SMTP_CONNECT_MS, on_stream, one);
    event_add(r->next, &wait);
}

static void on_next(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    begin_next(ctx);
}

void race_start(struct race *r, struct event_base *base, struct life *owner, size_t count,
                struct target *const targets[]) {
    *r = (struct race){.base = base, .owner = owner, .count = count};
    for (size_t i = 0; i < count; i++) r->racers[i] = (struct racer){.race = r, .target = targets[i]};
    r->next = event_new(base, -1, 0, on_next, r);
    if (!r->next) memory_exhausted();
    begin_next(r);
}

bool race_is_over(const struct race *r) { return r->winner || r->failed == r->count; }

struct stream *race_winner(struct race *r, struct target **target) {
    struct stream *s = r->winner ? r->winner->stream : NULL;
    *target = r->winner ? r->winner->target : NULL;
    if (r->winner) r->winner->stream = NULL;
    race_stop(r);
    return s;
}

void race_stop(struct race *r) {
    if (!r->next) return;
    event_free(r->next);
    r->next = NULL;
    for (size_t i = 0; i < r->count; i++) {
        stream_destroy(r->racers[i].stream);
        r->racers[i].stream = NULL;
    }
}
