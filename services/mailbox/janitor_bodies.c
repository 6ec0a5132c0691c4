/* Bodies with references without an owner: the queue's "q" without an entry, a user's reference
 * that the mailbox does not hold. And what a killed process has written of a body that was never
 * complete. */
#include "services/mailbox/janitor.h"

#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/store/blob.h"
#include "libcommon/store/queue.h"

/* SUSPECTS_MAX: for one body and round; further ones are handled in the next. JANITOR_REF is a
 * temporary reference of earlier versions. */
enum { SUSPECTS_MAX = 1000 };
#define JANITOR_REF "janitor"

static struct metric released =
    METRIC_COUNTER("postbus_mailbox_janitor_references_total", "References to bodies that nobody held, released");

struct body {
    struct janitor *janitor;
    char id[ULID_BYTES];
    size_t count, suspect_count, old_count, waiting;
    struct slice *refs;     /* sorted, so that those of one user stand together */
    struct slice *suspects; /* references without an owner; an empty one: the body has no
                               references */
    int error;
};

/* Those of one user. */
struct held {
    struct body *body;
    size_t first, count;
    struct slice *names;
};

static void body_end(struct body *b, int error) { janitor_answered(b->janitor, error); }

static int64_t ulid_ms(struct slice id) {
    static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    int64_t ms = 0;
    for (size_t i = 0; i < 10; i++) ms = ms * 32 + (strchr(letters, id.p[i]) - letters);
    return ms;
}

/* Releasing */

static void on_released(void *ctx, int error) {
    struct body *b = ctx;
    if (!error) metric_add(&released, (int64_t)b->old_count);
    body_end(b, error);
}

static void on_first_seen(void *ctx, int error, size_t count, const int64_t first_ms[]) {
    struct body *b = ctx;
    struct slice *old = arena_alloc(b->janitor->step, (count + 1) * sizeof *old);
    int64_t before = clock_wall_ms() - b->janitor->grace_ms;
    size_t n = 0;
    bool bare = false;
    for (size_t i = 0; i < count; i++) {
        if (first_ms[i] > before) continue;
        bare = bare || b->suspects[i].n == 0;
        log_info("a reference that nobody holds is released", "id", b->id, "reference", b->suspects[i].p, NULL);
        old[n++] = b->suspects[i];
    }
    b->old_count = n;
    if (error || n == 0)
        body_end(b, error);
    else if (bare)
        blob_forget(b->janitor->redis, slice_of(b->id), before, on_released, b);
    else
        blob_release(b->janitor->redis, slice_of(b->id), n, old, on_released, b);
}

static void suspect(struct body *b) {
    struct janitor *j = b->janitor;
    size_t n = b->suspect_count < SUSPECTS_MAX ? b->suspect_count : SUSPECTS_MAX;
    if (b->error || n == 0) {
        body_end(b, b->error);
        return;
    }
    struct slice *names = arena_alloc(j->step, n * sizeof *names);
    for (size_t i = 0; i < n; i++)
        names[i] = slice_of(arena_printf(j->step, "%s %.*s", b->id, SLICE_FMT(b->suspects[i])));
    j->suspects += (int64_t)n;
    janitor_suspect(j->redis, j->state.round, clock_wall_ms(), n, names, on_first_seen, b);
}

/* Who holds it */

static void answered(struct body *b, int error) {
    if (error) b->error = error;
    if (--b->waiting == 0) suspect(b);
}

static void on_queue(void *ctx, int error, size_t count, const bool found[]) {
    struct body *b = ctx;
    if (!error && count == 1 && !found[0]) b->suspects[b->suspect_count++] = SLICE(BLOB_REF_QUEUE);
    answered(b, error);
}

static void on_unheld(void *ctx, int error, size_t count, const struct slice names[]) {
    struct held *h = ctx;
    struct body *b = h->body;
    for (size_t i = 0, at = 0; !error && i < count && at < h->count; at++) { /* both in the same order */
        if (!slice_equal(names[i], h->names[at])) continue;
        b->suspects[b->suspect_count++] = b->refs[h->first + at];
        i++;
    }
    answered(b, error);
}

/* "u:<user>/<name>", or "u:<user>" of an early version's APPEND. */
static bool user_of(struct slice ref, struct slice *user, struct slice *name) {
    if (!slice_starts(ref, SLICE("u:"))) return false;
    ref = slice_skip(ref, 2);
    *name = SLICE("");
    if (slice_cut(&ref, '/', user))
        *name = ref;
    else
        *user = ref;
    return user->n > 0;
}

static void ask_user(struct body *b, size_t *at) {
    struct held *h = arena_alloc(b->janitor->step, sizeof *h);
    struct slice user = SLICE(""), other = user, name = user;
    *h = (struct held){.body = b, .first = *at};
    h->names = arena_alloc(b->janitor->step, (b->count - *at) * sizeof *h->names);
    user_of(b->refs[*at], &user, &name);
    while (*at < b->count && h->count < SUSPECTS_MAX && user_of(b->refs[*at], &other, &name) &&
           slice_equal(user, other)) {
        h->names[h->count++] = name;
        ++*at;
    }
    b->waiting++;
    janitor_unheld(b->janitor->redis, user, slice_of(b->id), h->count, h->names, on_unheld, h);
}

static int by_bytes(const void *one, const void *other) {
    const struct slice *a = one, *b = other;
    int order = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

static void on_refs(void *ctx, int error, size_t count, const struct slice refs[]) {
    struct body *b = ctx;
    struct janitor *j = b->janitor;
    struct slice user, name, id = slice_of(b->id);
    if (error) { /* not found: released meanwhile */
        body_end(b, error == STORE_NOT_FOUND ? 0 : error);
        return;
    }
    b->count = count;
    b->refs = arena_alloc(j->step, (count + 1) * sizeof *b->refs);
    b->suspects = arena_alloc(j->step, (count + 1) * sizeof *b->suspects);
    for (size_t i = 0; i < count; i++) b->refs[i] = arena_slice(j->step, refs[i]);
    if (count) qsort(b->refs, count, sizeof *b->refs, by_bytes);
    b->waiting = 1;
    if (count == 0) b->suspects[b->suspect_count++] = SLICE("");
    for (size_t i = 0; i < count;) {
        if (slice_is(b->refs[i], BLOB_REF_QUEUE)) {
            b->waiting++;
            queue_has(j->redis, queue_shard_of(id), 1, &id, on_queue, b);
            i++;
        } else if (slice_is(b->refs[i], JANITOR_REF)) { /* of a janitor that was killed */
            b->suspects[b->suspect_count++] = b->refs[i++];
        } else if (user_of(b->refs[i], &user, &name)) {
            ask_user(b, &i);
        } else {
            janitor_say_unowned(j, "a reference", b->refs[i++]);
        }
    }
    answered(b, 0);
}

void janitor_look_at_bodies(struct janitor *j, size_t count, const struct janitor_item items[]) {
    int64_t before = clock_wall_ms() - j->grace_ms;
    for (size_t i = 0; i < count; i++) {
        if (!ulid_is_valid(items[i].name)) {
            janitor_say_unowned(j, "a body", items[i].name);
            continue;
        }
        if (ulid_ms(items[i].name) > before) continue;
        struct body *b = arena_alloc(j->step, sizeof *b);
        b->janitor = j;
        memcpy(b->id, items[i].name.p, ULID_LENGTH);
        j->waiting++;
        blob_refs(j->redis, items[i].name, on_refs, b);
    }
}
