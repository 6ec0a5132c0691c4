#include "libcommon/service/login_end.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"

enum { REMEMBERED = 256, USER_BYTES = 64 };

struct login_end {
    login_end_fn *ended;
    void *ctx;
    struct {
        char user[USER_BYTES];
        int64_t at_us;
    } last[REMEMBERED];
    unsigned next;
};

static void on_changed(void *ctx, struct slice about, const json_t *data) {
    struct login_end *l = ctx;
    const char *sessions = json_string_value(json_object_get(data, "sessions")),
               *user = json_string_value(json_object_get(data, "user"));
    (void)about;
    if (!sessions || strcmp(sessions, "end") != 0 || !user || !*user) return;
    snprintf(l->last[l->next].user, USER_BYTES, "%s", user);
    l->last[l->next].at_us = clock_monotonic_us();
    l->next = (l->next + 1) % REMEMBERED;
    l->ended(l->ctx, user);
}

struct login_end *login_end_create(struct bus *b, login_end_fn *ended, void *ctx) {
    struct login_end *l = memory_alloc(sizeof *l);
    l->ended = ended;
    l->ctx = ctx;
    bus_hear(b, "account.changed.>", false, on_changed, l);
    return l;
}

void login_end_destroy(struct login_end *l) { free(l); }

bool login_end_came(const struct login_end *l, const char *user, int64_t since_us) {
    for (int i = 0; i < REMEMBERED; i++)
        if (l->last[i].at_us >= since_us && strcmp(l->last[i].user, user) == 0) return true;
    return false;
}
