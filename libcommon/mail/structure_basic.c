/* BODY out of BODYSTRUCTURE: the same description without its extension data. */
#include "libcommon/mail/structure.h"

struct reader {
    struct slice in;
    struct buf *out;
};

/* The length of a string, an atom or a number at the start of s; of a list: its parenthesis. 0:
 * malformed. */
static size_t token_length(struct slice s) {
    size_t n = 1;
    if (!s.n) return 0;
    if (s.p[0] == '(' || s.p[0] == ')') return 1;
    if (s.p[0] == '"') {
        while (n < s.n && s.p[n] != '"') n += s.p[n] == '\\' ? 2 : 1;
        return n < s.n ? n + 1 : 0;
    }
    if (s.p[0] == '{') {
        uint64_t bytes;
        ptrdiff_t end = slice_find(s, '}');
        if (end < 0 || slice_to_u64(slice_make(s.p + 1, (size_t)end - 1), s.n, &bytes) != 0) return 0;
        n = (size_t)end + 3 + (size_t)bytes;
        return n <= s.n ? n : 0;
    }
    while (n < s.n && !strchr(" ()\"{", s.p[n])) n++;
    return n;
}

/* The length of an item, a list with all that is in it; 0: malformed. */
static size_t item_length(struct slice s) {
    size_t at = 0, depth = 0;
    do {
        while (depth && at < s.n && s.p[at] == ' ') at++;
        size_t n = token_length(slice_skip(s, at));
        if (!n || (s.p[at] == ')' && !depth)) return 0;
        if (s.p[at] == '(') depth++;
        if (s.p[at] == ')') depth--;
        at += n;
    } while (depth);
    return at;
}

static bool take_space(struct reader *r, bool copy) {
    if (!r->in.n || r->in.p[0] != ' ') return false;
    if (copy) buf_add_char(r->out, ' ');
    r->in = slice_skip(r->in, 1);
    return true;
}

static bool take_item(struct reader *r, bool copy) {
    size_t n = item_length(r->in);
    if (copy) buf_add(r->out, r->in.p, n);
    r->in = slice_skip(r->in, n);
    return n != 0;
}

static bool skip_to_end(struct reader *r) {
    while (take_space(r, false))
        if (!take_item(r, false)) return false;
    if (!r->in.n || r->in.p[0] != ')') return false;
    r->in = slice_skip(r->in, 1);
    buf_add_char(r->out, ')');
    return true;
}

/* Fields before the size and the size: type, subtype, parameters, id, description, encoding,
 * octets. */
enum { BASIC_FIELDS = 7 };

/* Copies what a body begins with. 1: a body follows inside this one; 0: this one is complete. */
static int begin_body(struct reader *r) {
    if (!r->in.n || r->in.p[0] != '(') return -1;
    r->in = slice_skip(r->in, 1);
    buf_add_char(r->out, '(');
    if (r->in.n && r->in.p[0] == '(') return 1;
    for (int i = 0; i < BASIC_FIELDS; i++)
        if ((i && !take_space(r, true)) || !take_item(r, true)) return -1;
    if (r->in.n > 1 && r->in.p[1] == '(') /* a message: its envelope, its body, its lines */
        return take_space(r, true) && take_item(r, true) && take_space(r, true) ? 1 : -1;
    if (r->in.n > 1 && r->in.p[1] >= '0' && r->in.p[1] <= '9' && (!take_space(r, true) || !take_item(r, true)))
        return -1;
    return skip_to_end(r) ? 0 : -1;
}

bool structure_basic(struct slice bodystructure, struct buf *out) {
    struct reader r = {bodystructure, out};
    size_t depth = 0, start = out->n;
    int more;
    for (;;) {
        while ((more = begin_body(&r)) == 1)
            if (++depth > 2 * MIME_DEPTH_MAX) break;
        if (more != 0) break;
        /* A body is complete: another follows, or those around it end. */
        while (depth && r.in.n && r.in.p[0] == ' ' && take_space(&r, true)) {
            if (!take_item(&r, true) || !skip_to_end(&r)) break; /* subtype, or lines */
            depth--;
        }
        if (!depth && !r.in.n) return true;
        if (!depth || !r.in.n || r.in.p[0] != '(') break;
    }
    out->n = start;
    return false;
}
