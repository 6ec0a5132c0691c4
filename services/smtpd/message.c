#include <stdlib.h>

#include "libcommon/base/cost.h"
#include "libcommon/base/json_write.h"
#include "libcommon/base/log.h"
#include "libcommon/mail/header.h"
#include "services/smtpd/smtpd.h"

/* The text
 * --------------------------------------------------------------------------------------------------------------------
 */

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

/* The header
 * ------------------------------------------------------------------------------------------------------------------
 */

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

struct slice message_finish(struct session *s) {
    struct transaction *t = &s->t;
    struct buf header = {0};
    size_t old = message_header(t).n;
    buf_add_slice(&header, buf_slice(&t->change.on_top));
    trace_received(s, &header);
    message_kept_header(t, &header);
    if (header.n > MESSAGE_ROOM + old) { /* more than there is room for: the body moves */
        size_t more = header.n - MESSAGE_ROOM - old, from = MESSAGE_ROOM + old, n = t->text.n - from;
        buf_reserve(&t->text, more);
        memmove(t->text.data + from + more, t->text.data + from, n);
        t->text.n += more;
        old += more;
    }
    size_t start = MESSAGE_ROOM + old - header.n;
    memcpy(t->text.data + start, header.data, header.n);
    buf_free(&header);
    return slice_skip(buf_slice(&t->text), start);
}

/* The end stage
 * ---------------------------------------------------------------------------------------------------------------
 */

/* Bounds and line ends. */
void check_text(struct checking *c) {
    const struct transaction *t = &c->session->t;
    if (t->too_big)
        check_reject(c, 552, "5.3.4", "Message too large");
    else if (t->no_memory)
        check_reject(c, 452, "4.3.1", "Insufficient system storage, try again later");
    else if (t->scan.bare)
        check_reject(c, 550, "5.6.11",
                     "The message has a CR or LF that is not part of a CRLF line end (RFC 5321 section 2.3.8)");
    else if (t->scan.nul)
        check_reject(c, 550, "5.6.0", "The message has a NUL byte (RFC 5322 section 4.1)");
    else if (header_count(message_header(t), "Received") > SMTP_HOPS_MAX)
        check_reject(c, 554, "5.4.6", "Too many hops, this is a mail loop (RFC 5321 section 6.3)");
}

static void end_done(struct session *s, const struct verdict *v) {
    if (v->folder) s->t.folder = v->folder;
    if (v->code)
        message_refuse(s, v->code, v->enhanced, v->text);
    else
        commit_begin(s);
}

void message_received(struct session *s) {
    struct transaction *t = &s->t;
    struct header_field field;
    ulid_create(t->id);
    if (header_find(message_header(t), "Message-ID", &field)) {
        struct slice id = slice_head(slice_trim(field.value), sizeof t->message_id - 1);
        for (size_t i = 0; i < id.n; i++) t->message_id[i] = id.p[i] > ' ' && id.p[i] <= '~' ? id.p[i] : '?';
    }
    session_check(s, STAGE_END, end_done);
}

/* For the events
 * ---------------------------------------------------------------------------------------------------------------
 */

void message_keep_proofs(struct transaction *t, yyjson_val *reply) {
    size_t i, n;
    yyjson_val *name, *value;
    json_open(&t->proofs, NULL, '{');
    yyjson_obj_foreach(reply, i, n, name, value) {
        size_t length;
        if (yyjson_equals_str(name, "headers") || yyjson_equals_str(name, "drop")) continue;
        char *text = yyjson_val_write(value, 0, &length);
        if (!text) memory_exhausted();
        json_raw(&t->proofs, yyjson_get_str(name), slice_make(text, length));
        free(text);
    }
    json_close(&t->proofs, '}');
}

yyjson_val *message_proofs(struct transaction *t) {
    if (!t->proofs_read && t->proofs.n) t->proofs_read = yyjson_read(t->proofs.data, t->proofs.n, 0);
    return yyjson_doc_get_root(t->proofs_read);
}

void message_event(const struct session *s, struct slice client, struct buf *out) {
    const struct transaction *t = &s->t;
    json_open(out, NULL, '{');
    json_text(out, "from", t->from);
    json_open(out, "rcpts", '[');
    for (const struct rcpt *r = t->rcpts; r; r = r->next) {
        json_open(out, NULL, '{');
        json_text(out, "address", r->address);
        if (r->user) json_text(out, "user", slice_of(r->user));
        if (r->from) json_text(out, "from", slice_of(r->from));
        json_close(out, '}');
    }
    json_close(out, ']');
    json_raw(out, "client", client);
    if (t->proofs.n) json_raw(out, "verdict", buf_slice(&t->proofs));
}

void message_refuse(struct session *s, int code, const char *enhanced, const char *reason) {
    struct transaction *t = &s->t;
    struct buf client = {0}, event = {0};
    metric_add(code < 500 ? &smtpd_deferred : &smtpd_refused, 1);
    log_info("message refused", "id", t->id, "from", t->from.p, "client", s->ip, "enhanced", enhanced, "reason", reason,
             NULL);
    trace_client(s, &client);
    message_event(s, buf_slice(&client), &event);
    json_number(&event, "code", code);
    json_text(&event, "enhanced", slice_of(enhanced));
    json_text(&event, "reason", slice_of(reason));
    json_close(&event, '}');
    cost_add(COST_JSON_WRITTEN, 1);
    bus_publish_text(s->smtpd->worker->bus, "mail.refused", slice_of(t->id), buf_slice(&event));
    buf_free(&client);
    buf_free(&event);
    session_reply(s, "%d %s %s", code, enhanced, reason);
    transaction_reset(s);
}
