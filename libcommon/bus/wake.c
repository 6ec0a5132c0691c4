/* Wake-ups: empty messages, gathered during a turn of the loop. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/bus/bus_private.h"

enum { SUBJECTS_MAX = 64 };

struct wakes {
    struct bus *bus;
    struct event *soon;
    size_t count;
    char subjects[SUBJECTS_MAX][SUBJECT_MAX];
};

static void say_all(struct wakes *w) {
    for (size_t i = 0; i < w->count; i++) bus_send(w->bus, w->subjects[i], NULL, SLICE(""));
    w->count = 0;
}

static void on_soon(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    say_all(ctx);
}

void bus_wake(struct bus *b, const char *subject) {
    char whole[SUBJECT_MAX];
    if (b->is_closed) return;
    if (!b->wakes) {
        b->wakes = memory_alloc(sizeof *b->wakes);
        b->wakes->bus = b;
        b->wakes->soon = event_new(b->base, -1, 0, on_soon, b->wakes);
        if (!b->wakes->soon) memory_exhausted();
    }
    struct wakes *w = b->wakes;
    snprintf(whole, sizeof whole, "postbus.%s", subject);
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->subjects[i], whole) == 0) return;
    if (w->count == SUBJECTS_MAX) return;
    memcpy(w->subjects[w->count++], whole, sizeof whole);
    event_active(w->soon, EV_TIMEOUT, 0);
}

void wakes_destroy(struct wakes *w) {
    if (!w) return;
    say_all(w);
    event_free(w->soon);
    free(w);
}
