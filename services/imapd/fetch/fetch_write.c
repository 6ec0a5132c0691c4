/* The response to FETCH for one message, written as far as the client reads it. */
#include <stdlib.h>

#include "libcommon/mail/structure.h"
#include "services/imapd/fetch/fetch.h"
#include "services/imapd/write.h"

enum { PIECE = 64 * 1024 };

static struct mime *mime_of(struct fetch_writer *w) {
    if (w->mime) return w->mime;
    w->arena = arena_create();
    return w->mime = mime_parse(w->arena, w->message);
}

/* Announces an item's bytes as nstring, limited to the requested part; fetch_writer_step writes
 * them. */
static void begin_bytes(struct fetch_writer *w, const struct fetch_item *item, struct slice bytes) {
    struct buf *out = &w->session->out;
    if (item->partial && !w->ranged) bytes = slice_head(slice_skip(bytes, item->offset), item->length);
    if (!bytes.n && item->partial) {
        buf_add_str(out, "\"\"");
        return;
    }
    w->binary = item->kind == FETCH_BINARY && bytes.n && memchr(bytes.p, 0, bytes.n);
    buf_printf(out, w->binary ? "~{%zu}\r\n" : "{%zu}\r\n", bytes.n);
    w->rest = bytes;
}

static void write_section(struct fetch_writer *w, const struct fetch_item *item) {
    struct buf *out = &w->session->out;
    const struct section *section = &item->section;
    struct slice bytes;
    buf_add_slice(out, item->label);
    buf_add_char(out, ' ');
    if (!w->has_message || (w->ranged && item != w->items->range)) { /* header fields that are cached */
        section_read_fields(w->cached.header, section, &w->made);
        begin_bytes(w, item, buf_slice(&w->made));
    } else if (!section->depth && section->text == SECTION_ALL) {
        begin_bytes(w, item, w->message);
    } else if (section_find(mime_of(w), section, &w->made, &bytes)) {
        begin_bytes(w, item, bytes);
    } else {
        buf_add_str(out, "NIL");
    }
}

static void write_binary(struct fetch_writer *w, const struct fetch_item *item) {
    struct buf *out = &w->session->out;
    int error = section_find_binary(mime_of(w), &item->section, &w->made);
    buf_add_slice(out, item->label);
    buf_add_char(out, ' ');
    if (error == -2) w->unknown_encoding = true;
    if (item->kind == FETCH_BINARY_SIZE)
        buf_printf(out, "%zu", error ? 0 : w->made.n);
    else if (error)
        buf_add_str(out, "NIL");
    else
        begin_bytes(w, item, buf_slice(&w->made));
}

static void write_item(struct fetch_writer *w, const struct fetch_item *item, const struct mailbox_record *r) {
    struct session *s = w->session;
    char object[MAILBOX_OBJECT_ID_MAX];
    switch (item->kind) {
    case FETCH_UID: buf_printf(&s->out, "UID %u", r->uid); break;
    case FETCH_FLAGS: write_flags_of(s, r); break;
    case FETCH_SIZE: buf_printf(&s->out, "RFC822.SIZE %u", r->size); break;
    case FETCH_MODSEQ: buf_printf(&s->out, "MODSEQ (%llu)", (unsigned long long)r->modseq); break;
    case FETCH_INTERNALDATE:
        buf_add_str(&s->out, "INTERNALDATE ");
        write_date_time(&s->out, r->date);
        break;
    case FETCH_ENVELOPE:
        buf_add_str(&s->out, "ENVELOPE ");
        buf_add_slice(&s->out, w->cached.envelope);
        break;
    case FETCH_BODY:
        buf_add_str(&s->out, "BODY ");
        if (!structure_basic(w->cached.bodystructure, &s->out)) buf_add_slice(&s->out, w->cached.bodystructure);
        break;
    case FETCH_BODYSTRUCTURE:
        buf_add_str(&s->out, "BODYSTRUCTURE ");
        buf_add_slice(&s->out, w->cached.bodystructure);
        break;
    case FETCH_EMAILID: /* RFC 8474 §5.1, §5.2 */
        buf_printf(&s->out, "EMAILID (%.*s)", SLICE_FMT(mailbox_email_id(r, object)));
        break;
    case FETCH_THREADID:
        if (r->thread)
            buf_printf(&s->out, "THREADID (%.*s)", SLICE_FMT(mailbox_thread_id(r, object)));
        else
            buf_add_str(&s->out, "THREADID NIL");
        break;
    case FETCH_SAVEDATE: /* RFC 8514 §4.2 */
        buf_add_str(&s->out, r->savedate ? "SAVEDATE " : "SAVEDATE NIL");
        if (r->savedate) write_date_time(&s->out, r->savedate);
        break;
    case FETCH_PREVIEW: /* RFC 8970 §3 */
        buf_add_str(&s->out, "PREVIEW ");
        write_string(&s->out, w->cached.preview, s->utf8 || s->rev2);
        break;
    case FETCH_SECTION: write_section(w, item); break;
    case FETCH_BINARY:
    case FETCH_BINARY_SIZE: write_binary(w, item); break;
    }
}

/* Whether the client has received enough that more output may be produced. */
static bool may_write(struct session *s) {
    if (s->out.n >= PIECE) session_flush(s);
    return stream_pending_output(s->stream) <= LIMIT_OUTPUT_PENDING;
}

/* A plain literal must not contain NUL (RFC 9051 §9, CHAR8): it is replaced by 0x80, which keeps
 * the size. */
static void write_piece(struct fetch_writer *w) {
    struct slice piece = slice_head(w->rest, PIECE);
    struct buf *out = &w->session->out;
    size_t from = out->n;
    buf_add_slice(out, piece);
    w->rest = slice_skip(w->rest, piece.n);
    if (w->binary) return;
    for (char *nul = memchr(out->data + from, 0, piece.n); nul;
         nul = memchr(nul, 0, (size_t)(out->data + out->n - nul)))
        *nul = (char)0x80;
}

bool fetch_writer_step(struct fetch_writer *w) {
    struct session *s = w->session;
    const struct mailbox_record *r = view_find(&s->view, w->uid);
    if (!r) return true;
    if (!w->begun) {
        if (!may_write(s)) return false;
        w->begun = true;
        bool with_uid = s->by_uid && !w->items->has_uid; /* RFC 9051 §6.4.9 */
        w->spaced = *write_fetch_start(s, view_sequence(&s->view, r), r->uid, with_uid);
    }
    for (;;) {
        while (w->rest.n) {
            if (!may_write(s)) return false;
            write_piece(w);
        }
        if (w->next == w->items->count) break;
        if (!may_write(s)) return false;
        if (w->spaced) buf_add_char(&s->out, ' ');
        w->spaced = true;
        write_item(w, &w->items->items[w->next++], r);
    }
    if (w->with_flags && !w->items->has_flags) {
        buf_add_str(&s->out, w->spaced ? " " : "");
        write_flags_of(s, r);
        if (s->condstore && !w->items->has_modseq) buf_printf(&s->out, " MODSEQ (%llu)", (unsigned long long)r->modseq);
    }
    buf_add_str(&s->out, ")\r\n");
    return true;
}

static struct slice keep(char *room, size_t *used, struct slice part) {
    struct slice kept = {room + *used, part.n};
    if (part.n) memcpy(room + *used, part.p, part.n);
    *used += part.n;
    return kept;
}

void fetch_writer_keep(struct fetch_writer *w) {
    const struct slice message = w->message, cached = w->cached.header;
    size_t used = 0;
    w->room = memory_alloc(w->message.n + w->cached.envelope.n + w->cached.bodystructure.n + w->cached.header.n +
                           w->cached.preview.n + 1);
    w->message = keep(w->room, &used, w->message);
    w->cached.envelope = keep(w->room, &used, w->cached.envelope);
    w->cached.preview = keep(w->room, &used, w->cached.preview);
    w->cached.bodystructure = keep(w->room, &used, w->cached.bodystructure);
    w->cached.header = keep(w->room, &used, cached);
    if (w->rest.n && message.n && w->rest.p >= message.p && w->rest.p < message.p + message.n)
        w->rest.p = w->message.p + (w->rest.p - message.p);
    arena_destroy(w->arena); /* data that was read from the message points to its former place */
    w->arena = NULL;
    w->mime = NULL;
}

void fetch_writer_end(struct fetch_writer *w) {
    arena_destroy(w->arena);
    buf_free(&w->made);
    free(w->room);
    *w = (struct fetch_writer){0};
}
