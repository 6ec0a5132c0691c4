/* Bounds the work that a worker sends to the store at the same time. A step larger than the whole
 * window runs alone. */
#include "services/mailbox/mailbox_service.h"

static void start_next(struct window *w) {
    while (w->first) {
        struct window_step *step = w->first;
        if (w->running && (w->running >= WINDOW_MAX || w->bytes + step->cost > WINDOW_BYTES_MAX)) return;
        w->first = step->next;
        if (!w->first) w->last = NULL;
        step->next = NULL;
        w->running++;
        w->bytes += step->cost;
        step->start(step);
    }
}

void window_add(struct window *w, struct window_step *step) {
    step->next = NULL;
    if (w->last)
        w->last->next = step;
    else
        w->first = step;
    w->last = step;
    start_next(w);
}

void window_done(struct window *w, const struct window_step *step) {
    w->running--;
    w->bytes -= step->cost;
    start_next(w);
}
