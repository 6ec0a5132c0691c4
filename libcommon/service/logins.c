#include "libcommon/service/logins.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"

enum { REMEMBERED = 256, USER_BYTES = 64, ANSWER_MS = 10 * 1000, AGAIN_S = 5 };

/* Logins in the order of their last check: those of the present round are at the end. */
struct logins {
    struct bus *bus;
    struct event *clock;
    int64_t check_s;
    struct login *first, *last;
    unsigned round;
    uint64_t ticket;     /* of the running request; 0: none */
    bool again;          /* a new round is due when the running request has ended */
    int64_t missed_us;   /* the last time when events may have been missed */
    struct arena *arena; /* of `asked` */
    struct asked {
        char *user, *generation;
    } asked[LOGINS_CHECK_MAX]; /* the logins of the running request */
    size_t asked_count;
    struct {
        char user[USER_BYTES];
        int64_t at_us;
    } recent[REMEMBERED];
    unsigned next_recent;
};

static void link_last(struct logins *all, struct login *l) {
    l->next = NULL;
    l->previous = all->last;
    *(all->last ? &all->last->next : &all->first) = l;
    all->last = l;
}

static void take_out(struct logins *all, struct login *l) {
    *(l->previous ? &l->previous->next : &all->first) = l->next;
    *(l->next ? &l->next->previous : &all->last) = l->previous;
}

/* generation NULL: all of the user's. */
static void end(struct logins *all, const char *user, const char *generation) {
    for (struct login *l = all->first; l; l = l->next) {
        if (strcmp(l->user, user) != 0 || (generation && strcmp(l->generation, generation) != 0)) continue;
        l->ended = true;
        life_wake(l->life);
    }
}

/* The check */

static void check_next(struct logins *all);

static void next_round_in(struct logins *all, int64_t seconds) {
    struct timeval wait = {seconds, 0};
    event_add(all->clock, &wait);
}

static void on_answer(void *ctx, int error, const json_t *reply) {
    struct logins *all = ctx;
    const json_t *index;
    size_t i;
    all->ticket = 0;
    json_array_foreach(json_object_get(reply, "ended"), i, index) {
        json_int_t at = json_integer_value(index);
        if (error || !json_is_integer(index) || at < 0 || (size_t)at >= all->asked_count) continue;
        log_info("a login is void: the password was changed or the account was deleted", "user", all->asked[at].user,
                 NULL);
        end(all, all->asked[at].user, all->asked[at].generation);
    }
    if (error)
        next_round_in(all, AGAIN_S);
    else
        check_next(all);
}

/* Asks about the next logins of the round, or ends it. */
static void check_next(struct logins *all) {
    json_t *list = json_array();
    arena_reset(all->arena);
    all->asked_count = 0;
    if (all->again) all->round++;
    all->again = false;
    while (all->first && all->first->round != all->round && all->asked_count < LOGINS_CHECK_MAX) {
        struct login *l = all->first;
        take_out(all, l);
        link_last(all, l);
        l->round = all->round;
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:s}", "user", l->user, "address", l->address, "generation", l->generation));
        all->asked[all->asked_count++] =
            (struct asked){arena_copy(all->arena, slice_of(l->user)), arena_copy(all->arena, slice_of(l->generation))};
    }
    if (all->asked_count) {
        all->ticket =
            bus_request(all->bus, "accounts.logins", json_pack("{s:o}", "logins", list), ANSWER_MS, on_answer, all);
    } else {
        json_decref(list);
        next_round_in(all, all->check_s);
    }
}

static void begin_round(struct logins *all) {
    all->again = true;
    if (!all->ticket) check_next(all);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    begin_round(ctx);
}

/* Events */

static void on_changed(void *ctx, struct slice about, const json_t *data) {
    struct logins *all = ctx;
    const char *sessions = json_string_value(json_object_get(data, "sessions")),
               *user = json_string_value(json_object_get(data, "user"));
    (void)about;
    if (!sessions || strcmp(sessions, "end") != 0 || !user || !*user) return;
    snprintf(all->recent[all->next_recent].user, USER_BYTES, "%s", user);
    all->recent[all->next_recent].at_us = clock_monotonic_us();
    all->next_recent = (all->next_recent + 1) % REMEMBERED;
    end(all, user, NULL);
}

static void on_missed(void *ctx) {
    struct logins *all = ctx;
    all->missed_us = clock_monotonic_us();
    begin_round(all);
}

/* Public */

struct logins *logins_create(struct event_base *base, struct bus *b) {
    struct logins *all = memory_alloc(sizeof *all);
    all->bus = b;
    all->check_s = config_seconds("POSTBUS_LOGIN_CHECK", "5m", 1, 86400);
    all->arena = arena_create();
    all->clock = event_new(base, -1, 0, on_clock, all);
    if (!all->clock) memory_exhausted();
    next_round_in(all, all->check_s);
    bus_follow(b, "account.changed.>", on_changed, on_missed, all);
    return all;
}

void logins_destroy(struct logins *all) {
    while (all->first) login_leave(all->first);
    if (all->ticket) bus_cancel(all->bus, all->ticket);
    event_free(all->clock);
    arena_destroy(all->arena);
    free(all);
}

bool logins_were_ended(const struct logins *all, const char *user, int64_t since_us) {
    if (all->missed_us >= since_us) return true;
    for (int i = 0; i < REMEMBERED; i++)
        if (all->recent[i].at_us >= since_us && strcmp(all->recent[i].user, user) == 0) return true;
    return false;
}

void login_enter(struct logins *all, struct login *l, struct life *life, struct slice user, struct slice address,
                 struct slice generation) {
    login_leave(l);
    *l = (struct login){.all = all,
                        .life = life,
                        .user = memory_copy(user),
                        .address = memory_copy(address),
                        .generation = memory_copy(generation),
                        .round = all->round};
    link_last(all, l);
}

void login_leave(struct login *l) {
    if (!l->all) return;
    take_out(l->all, l);
    free(l->user);
    free(l->address);
    free(l->generation);
    *l = (struct login){.ended = false};
}
