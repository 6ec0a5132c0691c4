#include "services/delivery/session/body.h"

#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/cost.h"
#include "libcommon/base/metrics.h"
#include "libcommon/store/queue.h"

static struct metric held = METRIC_GAUGE("postbus_delivery_body_bytes", "Bytes of message bodies in memory");
static struct metric reads = METRIC_COUNTER("postbus_delivery_body_reads_total", "Bodies read from the store");

enum body_phase { BODY_QUEUED, BODY_ASKED, BODY_THERE };

struct body {
    struct bodies *all;
    struct body *next;
    char id[ULID_BYTES];
    size_t size;         /* as the envelope says: what is reserved */
    bool in_queue;       /* the entry has it */
    struct slice packed; /* the envelope's, until the text is there */
    enum body_phase phase;
    int error;
    struct buf text;
    struct body_use *users;
};

struct bodies {
    struct redis *redis;
    size_t max, bytes; /* bytes: reserved by all that are not queued */
    struct body *first;
};

struct bodies *bodies_create(struct redis *r, size_t max) {
    struct bodies *all = memory_alloc(sizeof *all);
    *all = (struct bodies){.redis = r, .max = max};
    return all;
}

static void start_queued(struct bodies *all);

static void body_free(struct body *b) {
    struct bodies *all = b->all;
    struct body **at = &all->first;
    while (*at != b) at = &(*at)->next;
    *at = b->next;
    if (b->phase != BODY_QUEUED) {
        all->bytes -= b->size;
        metric_add(&held, -(int64_t)b->size);
    }
    buf_free(&b->text);
    free(b);
}

static void on_read(void *ctx, int error, struct slice message) {
    struct body *b = ctx;
    struct bodies *all = b->all;
    b->phase = BODY_THERE;
    b->error = error;
    if (!b->users) {
        body_free(b);
        start_queued(all);
        return;
    }
    if (!error) {
        buf_add_slice(&b->text, message);
        cost_body_copy(message.n);
    }
    for (struct body_use *u = b->users; u; u = u->next) life_wake(u->life);
}

/* The lease has brought the text along. */
static void take_packed(struct body *b) {
    b->phase = BODY_THERE;
    b->error = queue_unpack_text(b->packed, b->size, &b->text);
    b->packed = SLICE("");
    cost_body_copy(b->text.n);
    for (struct body_use *u = b->users; u; u = u->next) life_wake(u->life);
}

/* In the order of the requests, so that a large body is not overtaken without end. */
static void start_queued(struct bodies *all) {
    for (struct body *b = all->first; b; b = b->next) {
        if (b->phase != BODY_QUEUED) continue;
        if (all->bytes && all->bytes + b->size > all->max) return;
        all->bytes += b->size;
        metric_add(&held, (int64_t)b->size);
        if (b->packed.n) {
            take_packed(b);
            continue;
        }
        metric_add(&reads, 1);
        b->phase = BODY_ASKED;
        queue_read_text(all->redis, slice_of(b->id), b->in_queue, on_read, b);
    }
}

void body_want(struct bodies *all, struct body_use *use, const struct envelope *e, struct life *life) {
    struct body **at = &all->first;
    while (*at && strcmp((*at)->id, e->id) != 0) at = &(*at)->next;
    struct body *b = *at;
    if (!b) {
        b = *at = memory_alloc(sizeof *b);
        b->all = all;
        b->size = (size_t)e->size;
        b->in_queue = e->text_in_queue;
        b->packed = e->packed;
        memcpy(b->id, e->id, ULID_BYTES);
    }
    *use = (struct body_use){b, life, b->users};
    b->users = use;
    if (b->phase == BODY_THERE)
        life_wake(life);
    else
        start_queued(all);
}

int body_state(const struct body_use *use, struct slice *text) {
    if (!use->body || use->body->phase != BODY_THERE) return 0;
    *text = buf_slice(&use->body->text);
    return use->body->error ? use->body->error : 1;
}

void body_drop(struct bodies *all, struct body_use *use) {
    struct body *b = use->body;
    if (!b) return;
    struct body_use **at = &b->users;
    while (*at != use) at = &(*at)->next;
    *at = use->next;
    *use = (struct body_use){0};
    if (b->users || b->phase == BODY_ASKED) return; /* its pending answer still refers to it */
    body_free(b);
    start_queued(all);
}

size_t bodies_bytes(const struct bodies *all) { return all->bytes; }

void bodies_destroy(struct bodies *all) {
    while (all->first) body_free(all->first); // NOLINT(clang-analyzer-unix.Malloc): body_free unlinks it
    free(all);
}
