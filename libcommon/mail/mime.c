#include "libcommon/mail/mime.h"

#include "libcommon/mail/header.h"

/* A multipart or message that is being read: its part, and a multipart's boundary (empty: a
 * message, or a multipart that has ended). */
struct level {
    uint32_t part;
    struct slice boundary;
};

struct reader {
    struct mime *m;
    struct arena *arena;
    size_t room;
    struct level open[MIME_DEPTH_MAX];
    size_t depth;
    uint32_t current; /* the part to which lines belong */
    bool in_header;
    size_t lines;          /* CRLFs so far */
    size_t *lines_at_body; /* of each part */
};

static uint32_t add_part(struct reader *r, uint32_t parent, size_t start) {
    struct mime *m = r->m;
    if (m->count == r->room) {
        size_t room = r->room ? r->room * 4 : 8;
        struct mime_part *parts = arena_alloc(r->arena, room * sizeof *parts);
        size_t *lines = arena_alloc(r->arena, room * sizeof *lines);
        if (m->count) memcpy(parts, m->parts, m->count * sizeof *parts);
        if (m->count) memcpy(lines, r->lines_at_body, m->count * sizeof *lines);
        m->parts = parts;
        r->lines_at_body = lines;
        r->room = room;
    }
    uint32_t index = (uint32_t)m->count++;
    struct mime_part *p = &m->parts[index];
    *p = (struct mime_part){
        .start = start, .body = start, .end = start, .parent = parent, .first_child = MIME_NONE, .next = MIME_NONE};
    if (parent != MIME_NONE) {
        struct mime_part *up = &m->parts[parent];
        if (up->child_count++ == 0) {
            up->first_child = index;
        } else { /* the last child is the newest part below this parent: its chain is short because
                    children are numbered in order */
            uint32_t last = index - 1;
            while (m->parts[last].parent != parent) last = m->parts[last].parent;
            m->parts[last].next = index;
        }
    }
    return index;
}

static enum mime_encoding encoding_of(struct slice header) {
    static const struct {
        const char *name;
        enum mime_encoding encoding;
    } names[] = {{"7bit", MIME_7BIT},
                 {"8bit", MIME_8BIT},
                 {"binary", MIME_BINARY},
                 {"quoted-printable", MIME_QUOTED_PRINTABLE},
                 {"base64", MIME_BASE64}};
    struct header_field field;
    if (!header_find(header, "Content-Transfer-Encoding", &field)) return MIME_7BIT;
    struct slice value = slice_trim(field.value);
    size_t n = 0;
    while (n < value.n && value.p[n] != ';' && value.p[n] != ' ' && value.p[n] != '\t' && value.p[n] != '(' &&
           value.p[n] != '\r')
        n++;
    value.n = n;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (slice_is_nocase(value, names[i].name)) return names[i].encoding;
    return value.n ? MIME_ENCODING_OTHER : MIME_7BIT;
}

static bool is_digest(const struct mime *m, uint32_t part) {
    return part != MIME_NONE && m->parts[part].is_multipart && slice_is_nocase(m->parts[part].subtype, "digest");
}

static bool boundary_of(struct reader *r, struct slice content_type, struct slice *boundary) {
    struct mime_value *value = arena_alloc(r->arena, sizeof *value);
    mime_read_value(r->arena, content_type, value);
    if (!mime_parameter(value, "boundary", boundary)) return false;
    while (boundary->n && (boundary->p[boundary->n - 1] == ' ' || boundary->p[boundary->n - 1] == '\t')) boundary->n--;
    return boundary->n > 0 && boundary->n <= MIME_BOUNDARY_MAX;
}

/* The current part's header block is complete: its type decides how the lines of its body are
 * read. */
static void header_done(struct reader *r, size_t header_end, size_t body) {
    struct mime *m = r->m;
    struct mime_part *p = &m->parts[r->current];
    struct slice header = {m->message.p + p->start, header_end - p->start}, boundary;
    struct header_field field;
    bool typed = header_find(header, "Content-Type", &field) && mime_read_type(field.value, &p->type, &p->subtype);
    p->body = p->end = body;
    p->encoding = encoding_of(header);
    r->lines_at_body[r->current] = r->lines; // NOLINT(clang-analyzer-core.NullDereference): made with the first part
    r->in_header = false;
    if (!typed) {
        bool message = is_digest(m, p->parent);
        p->type = message ? SLICE("message") : SLICE("text");
        p->subtype = message ? SLICE("rfc822") : SLICE("plain");
    }
    bool multipart = typed && slice_is_nocase(p->type, "multipart");
    bool message = slice_is_nocase(p->type, "message") &&
                   (slice_is_nocase(p->subtype, "rfc822") || slice_is_nocase(p->subtype, "global")) &&
                   p->encoding != MIME_BASE64 && p->encoding != MIME_QUOTED_PRINTABLE;
    if (!multipart && !message) return;
    if (r->depth == MIME_DEPTH_MAX || m->count == MIME_PARTS_MAX) {
        m->bounded = true;
        return;
    }
    if (multipart) {
        p->is_multipart = true;
        if (!boundary_of(r, field.value, &boundary)) boundary = SLICE("");
        r->open[r->depth++] = (struct level){r->current, boundary};
        return;
    }
    p->is_message = true;
    r->open[r->depth++] = (struct level){r->current, SLICE("")};
    r->current = add_part(r, r->current, body);
    r->in_header = true;
}

/* The part ends here, or where its body or its last child ends, when the line end before a
 * delimiter was also the empty line after a header. Returns the position. */
static size_t end_part(struct reader *r, uint32_t part, size_t at, size_t lines) {
    struct mime_part *p = &r->m->parts[part];
    size_t at_body = r->lines_at_body[part];
    p->end = at > p->body ? at : p->body;
    p->lines = lines > at_body ? lines - at_body : 0;
    return p->end;
}

/* Whether line is a delimiter of this boundary: "--" boundary ["--"], alone or with white space
 * after it. Text after the white space does not matter: "an exact match of the entire candidate line
 * is not required" (RFC 2046 §5.1.1). */
static bool is_delimiter(struct slice line, struct slice boundary, bool *closes) {
    if (boundary.n == 0 || line.n < boundary.n + 2 || memcmp(line.p + 2, boundary.p, boundary.n) != 0) return false;
    struct slice rest = slice_skip(line, boundary.n + 2);
    *closes = slice_starts(rest, SLICE("--"));
    if (*closes) rest = slice_skip(rest, 2);
    return rest.n == 0 || rest.p[0] == ' ' || rest.p[0] == '\t';
}

/* A line that begins with "--": true when it was a delimiter of one of the open multiparts. at:
 * where it begins; next: where the line after it does. */
static bool take_delimiter(struct reader *r, struct slice line, size_t at, size_t next) {
    for (size_t k = r->depth; k-- > 0;) {
        bool closes;
        if (!is_delimiter(line, r->open[k].boundary, &closes)) continue;
        uint32_t multipart = r->open[k].part;
        if (!closes && r->m->count == MIME_PARTS_MAX) { /* the last part takes the rest */
            r->m->bounded = true;
            return false;
        }
        size_t end =
            at >= 2 && r->m->message.p[at - 1] == '\n' ? at - 2 : at; /* the CRLF before belongs to the delimiter */
        while (r->in_header) { /* the header ends without its empty line; a part that opens now ends
                                  at once */
            size_t start = r->m->parts[r->current].start;
            header_done(r, at, end > start ? end : start);
        }
        size_t lines = r->lines - (end < at ? 1 : 0);
        if (r->current != multipart) end = end_part(r, r->current, end, lines);
        if (end == at) lines = r->lines; /* the CRLF before was the empty line of a part in this one */
        while (r->depth > k + 1) end = end_part(r, r->open[--r->depth].part, end, lines);
        if (closes) {
            r->open[k].boundary = SLICE(""); /* what follows is its epilogue */
            r->current = multipart;
        } else {
            r->current = add_part(r, multipart, next);
            r->in_header = true;
        }
        return true;
    }
    return false;
}

struct mime *mime_parse(struct arena *arena, struct slice message) {
    struct mime *m = arena_alloc(arena, sizeof *m);
    struct reader r = {.m = m, .arena = arena, .in_header = true};
    m->message = message;
    r.current = add_part(&r, MIME_NONE, 0);
    for (size_t at = 0; at < message.n;) {
        /* A line ends with CRLF; a bare LF is part of it. */
        size_t end = at;
        const char *lf;
        for (;;) {
            lf = memchr(message.p + end, '\n', message.n - end);
            if (!lf || (lf > message.p + at && lf[-1] == '\r')) break;
            end = (size_t)(lf - message.p) + 1;
        }
        size_t next = lf ? (size_t)(lf - message.p) + 1 : message.n;
        struct slice line = {message.p + at, lf ? next - 2 - at : next - at};
        bool delimiter = line.n > 2 && line.p[0] == '-' && line.p[1] == '-' && take_delimiter(&r, line, at, next);
        if (lf) r.lines++;
        if (!delimiter && r.in_header && line.n == 0 && lf) header_done(&r, at, next);
        at = next;
    }
    while (r.in_header) header_done(&r, message.n, message.n);
    end_part(&r, r.current, message.n, r.lines);
    while (r.depth) end_part(&r, r.open[--r.depth].part, message.n, r.lines);
    end_part(&r, 0, message.n, r.lines);
    return m;
}

static uint32_t nth_child(const struct mime *m, uint32_t part, uint32_t n) {
    uint32_t child = n ? m->parts[part].first_child : MIME_NONE;
    while (child != MIME_NONE && --n) child = m->parts[child].next;
    return child;
}

uint32_t mime_find(const struct mime *m, size_t n, const uint32_t numbers[]) {
    uint32_t at = 0;
    bool is_whole_message = true; /* numbers count inside it: a single body is its number 1 */
    for (size_t i = 0; i < n; i++) {
        if (!is_whole_message && m->parts[at].is_message) {
            at = m->parts[at].first_child;
            is_whole_message = true;
        }
        if (m->parts[at].is_multipart)
            at = nth_child(m, at, numbers[i]);
        else if (!is_whole_message || numbers[i] != 1)
            at = MIME_NONE;
        if (at == MIME_NONE) return MIME_NONE;
        is_whole_message = false;
    }
    return at;
}

struct slice mime_header(const struct mime *m, uint32_t part) {
    const struct mime_part *p = &m->parts[part];
    return slice_make(m->message.p + p->start, p->body - p->start);
}

struct slice mime_body(const struct mime *m, uint32_t part) {
    const struct mime_part *p = &m->parts[part];
    return slice_make(m->message.p + p->body, p->end - p->body);
}

bool mime_section(const struct mime *m, size_t n, const uint32_t numbers[], enum mime_section section,
                  struct slice *out) {
    uint32_t part = mime_find(m, n, numbers);
    if (part == MIME_NONE) return false;
    if (section == MIME_SECTION_HEADER || section == MIME_SECTION_TEXT) {
        if (n) {
            if (!m->parts[part].is_message) return false;
            part = m->parts[part].first_child;
        }
        *out = section == MIME_SECTION_HEADER ? mime_header(m, part) : mime_body(m, part);
        return true;
    }
    if (section == MIME_SECTION_MIME) {
        if (n == 0) return false;
        *out = mime_header(m, part);
        return true;
    }
    *out = n ? mime_body(m, part) : m->message;
    return true;
}
