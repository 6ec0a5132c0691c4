#include "libcommon/mail/preview.h"

#include "libcommon/mail/encoded_word.h"
#include "libcommon/mail/header.h"

enum { ENTITY_MAX = 10 };

static bool is_attachment(const struct mime *m, uint32_t part) {
    struct header_field field;
    return header_find(mime_header(m, part), "Content-Disposition", &field) &&
           slice_starts_nocase(slice_trim(field.value), SLICE("attachment"));
}

/* The first text/plain part, else the first part of text. */
static uint32_t text_part(const struct mime *m) {
    uint32_t found = MIME_NONE;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct mime_part *p = &m->parts[i];
        if (p->is_multipart || p->is_message || !slice_is_nocase(p->type, "text") || is_attachment(m, i)) continue;
        if (slice_is_nocase(p->subtype, "plain")) return i;
        if (found == MIME_NONE) found = i;
    }
    return found;
}

/* The beginning of the part without its transfer encoding, cut where a line ends. */
static void decode_beginning(const struct mime *m, uint32_t part, struct buf *out) {
    struct slice body = mime_body(m, part), piece = slice_head(body, PREVIEW_READ_MAX);
    if (piece.n < body.n) {
        ptrdiff_t lf = slice_find_last(piece, '\n');
        if (lf > 0) piece.n = (size_t)lf + 1;
    }
    struct mime_part first = {.end = piece.n, .encoding = m->parts[part].encoding};
    const struct mime alone = {.message = piece, .count = 1, .parts = &first};
    if (mime_decode_body(&alone, 0, out) != 0 && first.encoding != MIME_BASE64) buf_add_slice(out, piece);
}

static void add_charset(const struct mime *m, uint32_t part, struct slice text, struct buf *out) {
    struct arena *arena = arena_create();
    struct mime_value *value = arena_alloc(arena, sizeof *value);
    struct header_field field;
    struct slice charset = SLICE("");
    if (header_find(mime_header(m, part), "Content-Type", &field)) {
        mime_read_value(arena, field.value, value);
        if (!mime_parameter(value, "charset", &charset)) charset = SLICE("");
    }
    if (!charset.n || !charset_to_utf8(charset, text, out)) charset_to_utf8(SLICE("utf-8"), text, out);
    arena_destroy(arena);
}

struct writer {
    struct buf *out;
    size_t start, characters;
    bool space;
};

/* False when the preview is full. */
static bool write_byte(struct writer *w, char c) {
    unsigned char byte = (unsigned char)c;
    bool begins = (byte & 0xc0) != 0x80; /* a character of UTF-8 */
    if (byte <= ' ' || byte == 0x7f) {
        w->space = w->out->n > w->start;
        return true;
    }
    if (begins && w->characters + (w->space ? 1 : 0) >= PREVIEW_CHARACTERS) return false;
    if (begins && w->space) {
        buf_add_char(w->out, ' ');
        w->characters++;
        w->space = false;
    }
    if (begins) w->characters++;
    buf_add_char(w->out, c);
    return true;
}

static void write_plain(struct writer *w, struct slice text) {
    struct slice line;
    bool more = true;
    while (more) {
        more = slice_cut(&text, '\n', &line);
        if (!more) line = text;
        if (line.n && line.p[0] == '>') continue; /* of the message that is answered */
        for (size_t i = 0; i < line.n; i++)
            if (!write_byte(w, line.p[i])) return;
        write_byte(w, ' ');
    }
}

/* The number of bytes of an entity at the start of s, and the character for it. */
static size_t read_entity(struct slice s, char *c) {
    static const struct {
        const char *name;
        char c;
    } known[] = {{"&amp;", '&'},  {"&lt;", '<'},    {"&gt;", '>'},  {"&quot;", '"'},
                 {"&#39;", '\''}, {"&apos;", '\''}, {"&nbsp;", ' '}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!slice_starts_nocase(s, slice_of(known[i].name))) continue;
        *c = known[i].c;
        return strlen(known[i].name);
    }
    size_t n = 1;
    while (n < s.n && n < ENTITY_MAX && s.p[n] != ';' && s.p[n] > ' ') n++;
    *c = ' ';
    return n < s.n && s.p[n] == ';' ? n + 1 : 0;
}

/* The bytes of a tag, a comment, or an element whose content is not text. */
static size_t tag_length(struct slice s) {
    static const char *const whole[][2] = {{"<!--", "-->"},
                                           {"<style", "</style>"},
                                           {"<script", "</script>"},
                                           {"<head", "</head>"},
                                           {"<title", "</title>"}};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        struct slice end = slice_of(whole[i][1]);
        if (!slice_starts_nocase(s, slice_of(whole[i][0]))) continue;
        if (i && s.n > strlen(whole[i][0]) && !strchr(" >\t\r\n", s.p[strlen(whole[i][0])])) continue; /* <header> */
        for (size_t at = strlen(whole[i][0]); at + end.n <= s.n; at++)
            if (s.p[at] == end.p[0] && slice_starts_nocase(slice_skip(s, at), end)) return at + end.n;
        return s.n;
    }
    ptrdiff_t end = slice_find(s, '>');
    return end < 0 ? s.n : (size_t)end + 1;
}

static void write_html(struct writer *w, struct slice text) {
    while (text.n) {
        size_t n = 1;
        char c = text.p[0];
        if (c == '<' && text.n > 1 &&
            (text.p[1] == '/' || text.p[1] == '!' || text.p[1] == '?' || (text.p[1] | 0x20) >= 'a')) {
            n = tag_length(text);
            c = ' ';
        } else if (c == '&') {
            size_t entity = read_entity(text, &c);
            if (entity)
                n = entity;
            else
                c = '&';
        }
        if (!write_byte(w, c)) return;
        text = slice_skip(text, n);
    }
}

void preview_build(const struct mime *m, struct buf *out) {
    uint32_t part = text_part(m);
    struct buf decoded = {0}, text = {0};
    struct writer w = {.out = out, .start = out->n};
    if (part == MIME_NONE) return;
    decode_beginning(m, part, &decoded);
    add_charset(m, part, buf_slice(&decoded), &text);
    if (slice_is_nocase(m->parts[part].subtype, "html"))
        write_html(&w, buf_slice(&text));
    else
        write_plain(&w, buf_slice(&text));
    buf_free(&decoded);
    buf_free(&text);
}
