#include "libcommon/base/cost.h"
#include "libcommon/mail/header.h"
#include "services/smtpd/smtpd.h"

/* The text */

void message_begin(struct session *s) {
    buf_reset(&s->t.text);
    buf_reserve(&s->t.text, MESSAGE_ROOM);
    s->t.text.n = MESSAGE_ROOM;
    message_count(s);
}

bool message_count(struct session *s) {
    struct transaction *t = &s->t;
    struct smtpd_process *p = s->smtpd->process;
    size_t before = t->memory;
    t->memory = t->text.cap;
    size_t all = atomic_fetch_add(&p->memory, t->memory - before) + (t->memory - before);
    if (t->memory > before && all > p->memory_max) t->no_memory = true;
    return !t->no_memory;
}

struct slice message_text(const struct transaction *t) { return slice_skip(buf_slice(&t->text), MESSAGE_ROOM); }

struct slice message_header(const struct transaction *t) {
    size_t body_at;
    return header_block(message_text(t), &body_at);
}

/* The header */

void message_put_on_top(struct transaction *t, struct slice fields) {
    struct buf on_top = {0};
    buf_add_slice(&on_top, fields);
    buf_add_slice(&on_top, buf_slice(&t->change.on_top));
    buf_free(&t->change.on_top);
    t->change.on_top = on_top;
}

void message_drop(struct transaction *t, size_t at, size_t n) {
    struct header_change *x = &t->change;
    if (x->drop_count == x->drop_room) {
        size_t room = x->drop_room ? 2 * x->drop_room : 16;
        void *drop = arena_alloc(t->arena, room * sizeof *x->drop);
        if (x->drop_count) memcpy(drop, x->drop, x->drop_count * sizeof *x->drop);
        x->drop = drop;
        x->drop_room = room;
    }
    size_t i = x->drop_count++; /* in the order of their place */
    for (; i > 0 && x->drop[i - 1].at > at; i--) x->drop[i] = x->drop[i - 1];
    x->drop[i].at = at;
    x->drop[i].n = n;
}

void message_drop_fields(struct transaction *t, const char *name) {
    struct header_field field;
    struct slice header = message_header(t);
    size_t at = 0;
    while (header_next(header, &at, &field) == 1)
        if (slice_is_nocase(field.name, name)) message_drop(t, field.offset, field.raw.n);
}

void message_kept_header(struct transaction *t, struct buf *out) {
    const struct header_change *x = &t->change;
    struct slice header = message_header(t);
    size_t at = 0;
    for (size_t i = 0; i < x->drop_count; i++) {
        if (x->drop[i].at < at || x->drop[i].at > header.n || x->drop[i].n > header.n - x->drop[i].at) continue;
        buf_add(out, header.p + at, x->drop[i].at - at);
        at = x->drop[i].at + x->drop[i].n;
    }
    buf_add(out, header.p + at, header.n - at);
}

static void add_new_fields(struct session *s, struct buf *out) {
    buf_add_slice(out, buf_slice(&s->t.change.on_top));
    trace_received(s, out);
}

struct slice message_prefix(struct session *s) {
    struct buf fields = {0};
    add_new_fields(s, &fields);
    struct slice prefix = arena_slice(s->t.arena, buf_slice(&fields));
    buf_free(&fields);
    return prefix;
}

struct slice message_finish(struct session *s) {
    struct transaction *t = &s->t;
    struct buf header = {0};
    size_t old = message_header(t).n;
    add_new_fields(s, &header);
    message_kept_header(t, &header);
    if (header.n > MESSAGE_ROOM + old) { /* more than there is room for: the body moves */
        size_t more = header.n - MESSAGE_ROOM - old, from = MESSAGE_ROOM + old, n = t->text.n - from;
        buf_reserve(&t->text, more);
        memmove(t->text.data + from + more, t->text.data + from, n);
        t->text.n += more;
        cost_body_copy(n);
        old += more;
    }
    size_t start = MESSAGE_ROOM + old - header.n;
    memcpy(t->text.data + start, header.data, header.n);
    buf_free(&header);
    return slice_skip(buf_slice(&t->text), start);
}
