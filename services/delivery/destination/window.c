#include "services/delivery/destination/window.h"

#include "services/delivery/limits.h"

enum { CROWDED_MS = 60000 };

struct window window_begin(void) { return (struct window){.size = DESTINATION_WINDOW_START}; }

void window_opened(struct window *w) { w->until_ms = 0; }

void window_succeeded(struct window *w, size_t max, int64_t now_ms) {
    w->proven = true;
    w->failures = 0;
    w->until_ms = 0;
    if (now_ms - w->reduced_ms >= CROWDED_MS && w->size < max) w->size++;
}

void window_crowded(struct window *w, size_t open, int64_t now_ms) {
    w->reduced_ms = now_ms;
    w->size = open > 1 ? open : 1;
}

void window_failed(struct window *w, const struct retry_policy *p, int64_t now_ms, uint32_t random) {
    w->proven = false;
    w->size = 1;
    if (w->failures < 1000) w->failures++;
    w->until_ms = now_ms + retry_pause_ms(p, w->failures, random);
}

bool window_is_closed(const struct window *w, int64_t now_ms) { return w->until_ms > now_ms; }

size_t window_allows(const struct window *w, size_t max) {
    size_t n = w->size < max ? w->size : max;
    return n ? n : 1;
}

size_t window_room(const struct window *w, size_t waiting) {
    size_t most = DELIVERY_MESSAGES_MAX - DELIVERY_MESSAGES_MAX / 4, free_room = waiting < most ? most - waiting : 0;
    size_t share = free_room / (w->proven ? 2 : 8);
    return DESTINATION_WAITING_LEAST + (share < DESTINATION_WAITING_MAX ? share : DESTINATION_WAITING_MAX);
}

int64_t window_park_ms(int64_t age_ms, uint32_t random) {
    int64_t pause = age_ms / 2;
    if (pause < DESTINATION_PARK_MS) pause = DESTINATION_PARK_MS;
    if (pause > DESTINATION_PARK_LAST_MS) pause = DESTINATION_PARK_LAST_MS;
    return pause + pause / 2 * (int64_t)(random % 1000) / 1000;
}
