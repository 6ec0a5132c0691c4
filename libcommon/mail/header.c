#include "libcommon/mail/header.h"

struct slice header_block(struct slice message, size_t *body_at) {
    if (message.n >= 2 && memcmp(message.p, "\r\n", 2) == 0) {
        *body_at = 2;
        return slice_head(message, 0);
    }
    const char *end = message.n ? memmem(message.p, message.n, "\r\n\r\n", 4) : NULL;
    if (!end) {
        *body_at = message.n;
        return message;
    }
    size_t n = (size_t)(end - message.p);
    *body_at = n + 4;
    return slice_head(message, n + 2);
}

/* The length of the line at p with its CRLF, or of the rest. Uses memchr, which is many times as
 * fast as memmem. */
static size_t line_length(const char *p, size_t n) {
    for (size_t at = 0; at + 1 < n; at++) {
        const char *cr = memchr(p + at, '\r', n - 1 - at);
        if (!cr) return n;
        at = (size_t)(cr - p);
        if (p[at + 1] == '\n') return at + 2;
    }
    return n;
}

/* The name of the field raw, without white space before the colon (obsolete syntax, RFC 5322 §4.5);
 * empty when it is not a field (ftext, §2.2). */
static struct slice field_name(struct slice raw, size_t *value_at) {
    ptrdiff_t colon = slice_find(raw, ':');
    struct slice name = slice_head(raw, colon > 0 ? (size_t)colon : 0);
    *value_at = (size_t)(colon + 1);
    while (name.n && (name.p[name.n - 1] == ' ' || name.p[name.n - 1] == '\t')) name.n--;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] > '~') return slice_head(name, 0);
    return name;
}

int header_next(struct slice block, size_t *at, struct header_field *field) {
    while (*at < block.n) {
        const char *p = block.p + *at;
        size_t left = block.n - *at, n = line_length(p, left), value_at, offset = *at;
        while (n < left && (p[n] == ' ' || p[n] == '\t')) n += line_length(p + n, left - n);
        struct slice raw = {p, n}, name = field_name(raw, &value_at), value = slice_skip(raw, value_at);
        *at += n;
        if (!name.n) continue;
        if (value.n >= 2 && memcmp(value.p + value.n - 2, "\r\n", 2) == 0) value.n -= 2;
        *field = (struct header_field){name, value, raw, offset};
        return 1;
    }
    return 0;
}

bool header_find(struct slice block, const char *name, struct header_field *field) {
    size_t at = 0;
    while (header_next(block, &at, field) == 1)
        if (slice_is_nocase(field->name, name)) return true;
    return false;
}

bool header_find_last(struct slice block, const char *name, struct header_field *field) {
    struct header_field each;
    size_t at = 0;
    bool found = false;
    while (header_next(block, &at, &each) == 1)
        if (slice_is_nocase(each.name, name)) {
            *field = each;
            found = true;
        }
    return found;
}

size_t header_count(struct slice block, const char *name) {
    struct header_field each;
    size_t at = 0, count = 0;
    while (header_next(block, &at, &each) == 1) count += slice_is_nocase(each.name, name);
    return count;
}

void header_unfold(struct slice value, struct buf *out) {
    struct slice rest = slice_trim(value);
    while (rest.n) {
        const char *fold = memmem(rest.p, rest.n, "\r\n", 2);
        size_t n = fold ? (size_t)(fold - rest.p) : rest.n;
        buf_add(out, rest.p, n);
        rest = slice_skip(rest, fold ? n + 2 : n);
    }
}
