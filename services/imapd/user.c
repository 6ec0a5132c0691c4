/* The users of this worker's sessions: one subscription to a user's events, and a bound on
 * sessions. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/codec/events.h"
#include "services/imapd/imapd.h"

static size_t bucket_of(struct slice id) {
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (size_t i = 0; i < id.n; i++) h = (h ^ (unsigned char)id.p[i]) * 1099511628211u;
    return (size_t)(h % USER_BUCKETS);
}

static void on_news(void *ctx, struct slice about, struct slice event) {
    struct user *u = ctx;
    uint64_t modseq;
    int64_t folder = mailbox_changed_folder(event, &modseq);
    (void)about;
    snapshots_news(u->imapd->snapshots, slice_of(u->id), (uint32_t)folder, modseq);
}

struct user *user_join(struct session *s, struct slice id) {
    struct imapd *i = s->imapd;
    struct user **at = &i->users[bucket_of(id)];
    while (*at && !slice_is(id, (*at)->id)) at = &(*at)->next;
    struct user *u = *at;
    if (u && u->session_count >= i->process->sessions_per_user) return NULL;
    if (!u) {
        char subject[256];
        u = *at = memory_alloc(sizeof *u);
        u->id = memory_copy(id);
        u->imapd = i;
        snprintf(subject, sizeof subject, "mailbox.changed.%s", u->id);
        u->news = bus_subscribe_raw(i->worker->bus, subject, on_news, u);
    }
    u->session_count++;
    s->user_next = u->sessions;
    if (s->user_next) s->user_next->user_previous = s;
    u->sessions = s;
    s->user = u;
    return u;
}

void user_leave(struct session *s) {
    struct user *u = s->user;
    if (!u) return;
    if (s->user_previous)
        s->user_previous->user_next = s->user_next;
    else
        u->sessions = s->user_next;
    if (s->user_next) s->user_next->user_previous = s->user_previous;
    s->user_previous = s->user_next = NULL;
    s->user = NULL;
    if (--u->session_count) return;
    struct user **at = &s->imapd->users[bucket_of(slice_of(u->id))];
    while (*at != u) at = &(*at)->next;
    *at = u->next;
    if (u->news) bus_unsubscribe(u->news);
    free(u->id);
    free(u);
}
