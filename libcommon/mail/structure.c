#include "libcommon/mail/structure.h"

#include <ctype.h>

#include "libcommon/mail/address.h"
#include "libcommon/mail/header.h"

void structure_string(struct slice s, struct buf *out) {
    bool quoted = s.n <= 1000;
    size_t nul = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '\0') nul++;
        if (c >= 0x80 || c == '\r' || c == '\n') quoted = false;
    }
    if (quoted)
        buf_add_char(out, '"');
    else
        buf_printf(out, "{%zu}\r\n", s.n - nul);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\0') continue;
        if (quoted && (s.p[i] == '"' || s.p[i] == '\\')) buf_add_char(out, '\\');
        buf_add_char(out, s.p[i]);
    }
    if (quoted) buf_add_char(out, '"');
}

static void write_nstring(struct slice s, bool present, struct buf *out) {
    if (present)
        structure_string(s, out);
    else
        buf_add_str(out, "NIL");
}

/* A field's text, unfolded; NIL when there is no such field. scratch is emptied first. */
static void write_field(struct slice header, const char *name, struct buf *scratch, struct buf *out) {
    struct header_field field;
    bool present = header_find(header, name, &field);
    buf_reset(scratch);
    if (present) header_unfold(field.value, scratch);
    write_nstring(buf_slice(scratch), present, out);
}

/* Envelope (RFC 9051 §7.5.2) */

static void write_address(const struct address *a, struct buf *out) {
    buf_add_char(out, '(');
    if (a->kind == ADDRESS_GROUP_BEGIN) { /* a group: its name in place of the mailbox, no host;
                                             its end: all NIL */
        buf_add_str(out, "NIL NIL ");
        structure_string(a->name, out);
        buf_add_str(out, " NIL)");
        return;
    }
    if (a->kind == ADDRESS_GROUP_END) {
        buf_add_str(out, "NIL NIL NIL NIL)");
        return;
    }
    write_nstring(a->name, a->name.n > 0, out);
    buf_add_char(out, ' ');
    write_nstring(a->route, a->route.n > 0, out);
    buf_add_char(out, ' ');
    structure_string(a->local, out);
    buf_add_char(out, ' ');
    structure_string(a->domain, out);
    buf_add_char(out, ')');
}

/* Whether a list was written; when there is none, NIL is written if requested. */
static bool write_addresses(struct slice header, const char *name, struct buf *out) {
    struct header_field field;
    struct address *list;
    if (!header_find(header, name, &field)) return false;
    struct arena *arena = arena_create();
    size_t count = address_parse(arena, field.value, STRUCTURE_ADDRESSES_MAX, &list);
    if (count) buf_add_char(out, '(');
    for (size_t i = 0; i < count; i++) write_address(&list[i], out);
    if (count) buf_add_char(out, ')');
    arena_destroy(arena);
    return count > 0;
}

void structure_envelope(struct slice header, struct buf *out) {
    static const char *const lists[] = {"From", "Sender", "Reply-To", "To", "Cc", "Bcc"};
    struct buf scratch = {0};
    buf_add_char(out, '(');
    write_field(header, "Date", &scratch, out);
    buf_add_char(out, ' ');
    write_field(header, "Subject", &scratch, out);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        buf_add_char(out, ' ');
        if (write_addresses(header, lists[i], out)) continue;
        bool from_instead = i == 1 || i == 2;
        if (!from_instead || !write_addresses(header, "From", out)) buf_add_str(out, "NIL");
    }
    buf_add_char(out, ' ');
    write_field(header, "In-Reply-To", &scratch, out);
    buf_add_char(out, ' ');
    write_field(header, "Message-ID", &scratch, out);
    buf_add_char(out, ')');
    buf_free(&scratch);
}

/* Body structure */

static bool find_value(const struct mime *m, uint32_t part, const char *name, struct header_field *field) {
    return header_find(mime_header(m, part), name, field);
}

static void write_parameters(const struct mime_value *value, struct buf *out) {
    if (value->count == 0) {
        buf_add_str(out, "NIL");
        return;
    }
    for (size_t i = 0; i < value->count; i++) {
        buf_add_char(out, i ? ' ' : '(');
        structure_string(value->parameters[i].name, out);
        buf_add_char(out, ' ');
        structure_string(value->parameters[i].value, out);
    }
    buf_add_char(out, ')');
}

/* The parameters of Content-Type. For a text without a charset US-ASCII is written (RFC 2045
 * §5.2). */
static void write_type_parameters(const struct mime *m, uint32_t part, struct buf *out) {
    struct header_field field;
    struct arena *arena = arena_create();
    struct mime_value *value = arena_alloc(arena, sizeof *value);
    struct slice type, subtype;
    bool typed = find_value(m, part, "Content-Type", &field) && mime_read_type(field.value, &type, &subtype);
    if (typed) mime_read_value_raw(arena, field.value, value);
    if (value->count == 0 && slice_is_nocase(m->parts[part].type, "text"))
        buf_add_str(out, "(\"charset\" \"us-ascii\")");
    else
        write_parameters(value, out);
    arena_destroy(arena);
}

static void write_disposition(const struct mime *m, uint32_t part, struct buf *out) {
    struct header_field field;
    struct arena *arena = arena_create();
    struct mime_value *value = arena_alloc(arena, sizeof *value);
    if (find_value(m, part, "Content-Disposition", &field)) mime_read_value_raw(arena, field.value, value);
    if (value->word.n == 0) {
        buf_add_str(out, "NIL");
    } else {
        buf_add_char(out, '(');
        structure_string(value->word, out);
        buf_add_char(out, ' ');
        write_parameters(value, out);
        buf_add_char(out, ')');
    }
    arena_destroy(arena);
}

/* Content-Language: one tag as a string, several as a list (RFC 3282). */
static void write_language(const struct mime *m, uint32_t part, struct buf *out) {
    struct header_field field;
    size_t tags = 0;
    struct slice rest = SLICE(""), tag;
    if (find_value(m, part, "Content-Language", &field)) rest = field.value;
    while (rest.n && tags < 32) {
        if (!slice_cut(&rest, ',', &tag)) {
            tag = rest;
            rest.n = 0;
        }
        tag = slice_trim(tag);
        if (tag.n == 0) continue;
        buf_add_char(out, tags++ ? ' ' : '(');
        structure_string(tag, out);
    }
    buf_add_str(out, tags ? ")" : "NIL");
}

/* The extension data that every part ends with: disposition, language, location. */
static void write_extension(const struct mime *m, uint32_t part, struct buf *scratch, struct buf *out) {
    buf_add_char(out, ' ');
    write_disposition(m, part, out);
    buf_add_char(out, ' ');
    write_language(m, part, out);
    buf_add_char(out, ' ');
    write_field(mime_header(m, part), "Content-Location", scratch, out);
}

static void write_encoding(const struct mime *m, uint32_t part, struct buf *out) {
    static const char *const names[] = {"7bit", "8bit", "binary", "quoted-printable", "base64"};
    enum mime_encoding encoding = m->parts[part].encoding;
    struct header_field field;
    if (encoding != MIME_ENCODING_OTHER)
        structure_string(slice_of(names[encoding]), out);
    else
        structure_string(
            find_value(m, part, "Content-Transfer-Encoding", &field) ? slice_trim(field.value) : SLICE("7bit"), out);
}

/* The fields of a part that is not a multipart, up to its size. */
static void write_basic(const struct mime *m, uint32_t part, struct buf *scratch, struct buf *out) {
    const struct mime_part *p = &m->parts[part];
    /* A multipart or message beyond the depth bound is described as application/octet-stream. */
    bool opaque = slice_is_nocase(p->type, "multipart") ||
                  (slice_is_nocase(p->type, "message") && slice_is_nocase(p->subtype, "rfc822") && !p->is_message);
    if (opaque) {
        buf_add_str(out, "\"application\" \"octet-stream\" NIL");
    } else {
        structure_string(p->type, out);
        buf_add_char(out, ' ');
        structure_string(p->subtype, out);
        buf_add_char(out, ' ');
        write_type_parameters(m, part, out);
    }
    buf_add_char(out, ' ');
    write_field(mime_header(m, part), "Content-ID", scratch, out);
    buf_add_char(out, ' ');
    write_field(mime_header(m, part), "Content-Description", scratch, out);
    buf_add_char(out, ' ');
    write_encoding(m, part, out);
    buf_printf(out, " %zu", p->end - p->body);
    if (slice_is_nocase(p->type, "text")) buf_printf(out, " %zu", p->lines);
}

static void write_md5(const struct mime *m, uint32_t part, struct buf *scratch, struct buf *out) {
    buf_add_char(out, ' ');
    write_field(mime_header(m, part), "Content-MD5", scratch, out);
}

/* Writes the text that follows a multipart's children, or a message/rfc822 part's body. */
static void write_end(const struct mime *m, uint32_t part, bool extended, struct buf *scratch, struct buf *out) {
    const struct mime_part *p = &m->parts[part];
    if (p->is_multipart) {
        buf_add_char(out, ' ');
        structure_string(p->subtype, out);
        if (extended) {
            buf_add_char(out, ' ');
            write_type_parameters(m, part, out);
            write_extension(m, part, scratch, out);
        }
    } else {
        if (p->is_message) buf_printf(out, " %zu", p->lines);
        if (extended) {
            write_md5(m, part, scratch, out);
            write_extension(m, part, scratch, out);
        }
    }
    buf_add_char(out, ')');
}

void structure_body(const struct mime *m, bool extended, struct buf *out) {
    struct buf scratch = {0};
    uint32_t at = 0;
    while (at != MIME_NONE) {
        const struct mime_part *p = &m->parts[at];
        buf_add_char(out, '(');
        if (!p->is_multipart) write_basic(m, at, &scratch, out);
        if (p->is_multipart && p->child_count == 0) /* the syntax asks for at least one */
            buf_add_str(
                out, extended ? "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)"
                              : "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)");
        if (p->is_message) {
            buf_add_char(out, ' ');
            structure_envelope(mime_header(m, p->first_child), out);
            buf_add_char(out, ' ');
        }
        if (p->first_child != MIME_NONE) {
            at = p->first_child;
            continue;
        }
        /* This part is complete; so are those above it that have no further child. */
        write_end(m, at, extended, &scratch, out);
        while (at != MIME_NONE && m->parts[at].next == MIME_NONE) {
            at = m->parts[at].parent;
            if (at != MIME_NONE) write_end(m, at, extended, &scratch, out);
        }
        if (at != MIME_NONE) at = m->parts[at].next;
    }
    buf_free(&scratch);
}
