#include "services/imapd/fetch.h"
#include "services/imapd/write.h"

/* Writes the bytes of a section as nstring, limited to the requested part. */
static void write_bytes(struct buf *out, const struct fetch_item *item, struct slice bytes) {
    if (item->partial) bytes = slice_head(slice_skip(bytes, item->offset), item->length);
    if (item->kind == FETCH_BINARY && bytes.n && memchr(bytes.p, 0, bytes.n))
        write_literal8(out, bytes);
    else if (!bytes.n)
        buf_add_str(out, "\"\"");
    else /* byte for byte as stored: a NUL that the received message had is sent unchanged */
        buf_printf(out, "{%zu}\r\n", bytes.n), buf_add_slice(out, bytes);
}

static void write_section(struct session *s, const struct fetch_item *item, const struct mailbox_cached *cached,
                          const struct slice *message) {
    struct buf bytes = {0};
    const struct section *section = &item->section;
    buf_add_slice(&s->out, item->label);
    buf_add_char(&s->out, ' ');
    if (message && !section->depth && section->text == SECTION_ALL) {
        write_bytes(&s->out, item, *message);
    } else if (message) {
        if (section_read(*message, section, &bytes))
            write_bytes(&s->out, item, buf_slice(&bytes));
        else
            buf_add_str(&s->out, "NIL");
    } else {
        section_read_fields(cached->header, section, &bytes);
        write_bytes(&s->out, item, buf_slice(&bytes));
    }
    buf_free(&bytes);
}

static void write_binary(struct session *s, const struct fetch_item *item, struct slice message) {
    struct buf bytes = {0};
    int error = section_read_binary(message, &item->section, &bytes);
    buf_add_slice(&s->out, item->label);
    buf_add_char(&s->out, ' ');
    if (item->kind == FETCH_BINARY_SIZE)
        buf_printf(&s->out, "%zu", error ? 0 : bytes.n);
    else if (error)
        buf_add_str(&s->out, "NIL");
    else
        write_bytes(&s->out, item, buf_slice(&bytes));
    buf_free(&bytes);
}

static void write_item(struct session *s, const struct fetch_item *item, const struct mailbox_record *r,
                       const struct mailbox_cached *cached, const struct slice *message) {
    switch (item->kind) {
    case FETCH_UID: buf_printf(&s->out, "UID %u", r->uid); break;
    case FETCH_FLAGS: write_flags(s, r->flags); break;
    case FETCH_SIZE: buf_printf(&s->out, "RFC822.SIZE %u", r->size); break;
    case FETCH_MODSEQ: buf_printf(&s->out, "MODSEQ (%llu)", (unsigned long long)r->modseq); break;
    case FETCH_INTERNALDATE:
        buf_add_str(&s->out, "INTERNALDATE ");
        write_date_time(&s->out, r->date);
        break;
    case FETCH_ENVELOPE:
        buf_add_str(&s->out, "ENVELOPE ");
        buf_add_slice(&s->out, cached->envelope);
        break;
    case FETCH_BODY:
        buf_add_str(&s->out, "BODY ");
        buf_add_slice(&s->out, cached->body);
        break;
    case FETCH_BODYSTRUCTURE:
        buf_add_str(&s->out, "BODYSTRUCTURE ");
        buf_add_slice(&s->out, cached->bodystructure);
        break;
    case FETCH_SECTION: write_section(s, item, cached, message); break;
    case FETCH_BINARY:
    case FETCH_BINARY_SIZE: write_binary(s, item, *message); break;
    }
}

void fetch_write(struct session *s, const struct fetch_items *items, const struct mailbox_record *r,
                 const struct mailbox_cached *cached, const struct slice *message, bool with_flags) {
    const char *space = "";
    session_untagged(s, "%zu FETCH (", view_sequence(&s->view, r));
    if (s->by_uid && !items->has_uid) { /* RFC 9051 §6.4.9 */
        buf_printf(&s->out, "UID %u", r->uid);
        space = " ";
    }
    for (size_t i = 0; i < items->count; i++) {
        buf_add_str(&s->out, space);
        write_item(s, &items->items[i], r, cached, message);
        space = " ";
    }
    if (with_flags && !items->has_flags) {
        buf_add_str(&s->out, space);
        write_flags(s, r->flags);
        if (s->condstore && !items->has_modseq) buf_printf(&s->out, " MODSEQ (%llu)", (unsigned long long)r->modseq);
    }
    buf_add_str(&s->out, ")\r\n");
}
