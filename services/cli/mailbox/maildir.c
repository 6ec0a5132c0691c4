#include "services/cli/mailbox/maildir.h"

#include <stdio.h>

#include "libcommon/mail/utf7.h"

static const struct {
    char letter;
    enum maildir_flag flag;
} letters[] = {{'D', MAILDIR_DRAFT},    {'F', MAILDIR_FLAGGED}, {'P', MAILDIR_PASSED},
               {'R', MAILDIR_ANSWERED}, {'S', MAILDIR_SEEN},    {'T', MAILDIR_DELETED}};

bool maildir_name_read(struct slice file, struct maildir_name *out) {
    static const char info[] = ":2,";
    *out = (struct maildir_name){0};
    if (!file.n || file.p[0] == '.') return false;
    const char *at = memmem(file.p, file.n, info, 3);
    struct slice flags = at ? slice_skip(file, (size_t)(at - file.p) + 3) : slice_head(file, 0);
    struct slice base = at ? slice_head(file, (size_t)(at - file.p)) : file, number;
    ptrdiff_t comma = slice_find(base, ','), dot = slice_find(base, '.');
    out->unique = comma > 0 ? slice_head(base, (size_t)comma) : base;
    number = dot > 0 ? slice_head(base, (size_t)dot) : base;
    if (slice_to_u64(number, INT64_MAX, &out->time) != 0) out->time = 0;
    for (size_t i = 0; i < flags.n && flags.p[i] != ','; i++) { /* "," begins what other programs add */
        char c = flags.p[i];
        if (c >= 'a' && c <= 'z') out->keywords |= 1u << (c - 'a');
        for (size_t k = 0; k < sizeof letters / sizeof *letters; k++)
            if (letters[k].letter == c) out->flags |= letters[k].flag;
    }
    return out->unique.n > 0;
}

void maildir_name_write(struct slice unique, uint64_t size, uint32_t flags, uint32_t keywords, struct buf *out) {
    buf_add_slice(out, unique);
    buf_printf(out, ",S=%llu:2,", (unsigned long long)size);
    for (size_t k = 0; k < sizeof letters / sizeof *letters; k++)
        if (flags & letters[k].flag) buf_add_char(out, letters[k].letter);
    for (int k = 0; k < MAILDIR_KEYWORDS_MAX; k++)
        if (keywords & 1u << k) buf_add_char(out, (char)('a' + k));
}

/* Folders */

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One level without its escapes, as UTF-8. */
static void read_level(struct slice level, struct buf *out) {
    struct buf plain = {0};
    for (size_t i = 0; i < level.n; i++) {
        int high = level.p[i] == '\\' && i + 2 < level.n ? hex(level.p[i + 1]) : -1,
            low = high >= 0 ? hex(level.p[i + 2]) : -1;
        if (low >= 0 && (high << 4 | low) != '/' && (high << 4 | low) != 0) {
            buf_add_char(&plain, (char)(high << 4 | low));
            i += 2;
        } else {
            buf_add_char(&plain, level.p[i]);
        }
    }
    if (!utf7_decode(buf_slice(&plain), out)) buf_add_slice(out, buf_slice(&plain));
    buf_free(&plain);
}

bool maildir_folder_read(struct slice directory, struct buf *out) {
    size_t before = out->n;
    struct slice rest = slice_skip(directory, 1), level;
    if (!directory.n || directory.p[0] != '.') return false;
    for (bool more = true; more;) {
        more = slice_cut(&rest, '.', &level);
        if (!more) level = rest;
        if (!level.n || slice_find(level, '/') >= 0) {
            out->n = before;
            if (out->data) out->data[before] = 0;
            return false;
        }
        if (out->n > before) buf_add_char(out, '/');
        read_level(level, out);
    }
    return true;
}

bool maildir_folder_write(struct slice folder, struct buf *out) {
    struct buf encoded = {0};
    size_t before = out->n;
    if (!utf7_encode(folder, &encoded)) buf_add_slice(&encoded, folder);
    buf_add_char(out, '.');
    for (size_t i = 0; i < encoded.n; i++) {
        char c = encoded.data[i];
        if (c == '/')
            buf_add_char(out, '.');
        else if (c == '.' || c == '\\')
            buf_printf(out, "\\%02x", (unsigned char)c);
        else
            buf_add_char(out, c);
    }
    buf_free(&encoded);
    if (out->n - before <= MAILDIR_NAME_MAX) return true;
    out->n = before;
    out->data[before] = 0;
    return false;
}

/* Lists */

/* The next line without its line end. */
static bool next_line(struct slice text, size_t *at, struct slice *line) {
    struct slice rest = slice_skip(text, *at);
    if (!rest.n) return false;
    ptrdiff_t lf = slice_find(rest, '\n');
    *line = slice_head(rest, lf >= 0 ? (size_t)lf : rest.n);
    *at += line->n + (lf >= 0);
    if (line->n && line->p[line->n - 1] == '\r') line->n--; // NOLINT(clang-analyzer-core.NullDereference): n is not 0
    return true;
}

void maildir_keywords_read(struct slice text, struct slice out[MAILDIR_KEYWORDS_MAX]) {
    struct slice line, number;
    size_t at = 0;
    uint64_t n;
    for (size_t i = 0; i < MAILDIR_KEYWORDS_MAX; i++) out[i] = SLICE("");
    while (next_line(text, &at, &line))
        if (slice_cut(&line, ' ', &number) && slice_to_u64(number, MAILDIR_KEYWORDS_MAX - 1, &n) == 0) out[n] = line;
}

bool maildir_subscription_next(struct slice text, char separator, size_t *at, struct buf *out) {
    bool second = slice_starts(text, SLICE("V\t2"));
    struct slice line;
    if (second && *at == 0) next_line(text, at, &line);
    while (next_line(text, at, &line)) {
        size_t before = out->n;
        struct buf name = {0};
        if (!line.n) continue;
        for (size_t i = 0; i < line.n; i++) {
            char c = line.p[i];
            if (c == 1 && i + 1 < line.n && second) { /* Dovecot's escapes of NUL, its own mark, tab and line ends */
                static const char from[] = "01tnr";
                const char *which = line.p[i + 1] ? strchr(from, line.p[i + 1]) : NULL;
                if (which) {
                    c = "\0\1\t\n\r"[which - from];
                    i++;
                }
                buf_add_char(&name, c ? c : '?');
            } else {
                buf_add_char(&name, c == (second ? '\t' : separator) ? '/' : c);
            }
        }
        if (!utf7_decode(buf_slice(&name), out)) buf_add_slice(out, buf_slice(&name));
        buf_free(&name);
        if (out->n > before) return true;
    }
    return false;
}

void maildir_subscription_write(struct slice folder, struct buf *out) {
    for (size_t i = 0; i < folder.n; i++) {
        char c = folder.p[i];
        if (c == '/')
            buf_add_char(out, '\t');
        else if (c == 1)
            buf_add(out,
                    "\1"
                    "1",
                    2);
        else
            buf_add_char(out, c);
    }
    buf_add_char(out, '\n');
}

void maildir_message_read(struct slice file, struct buf *out) {
    ptrdiff_t first = slice_find(file, '\n');
    if (first < 0 || (first > 0 && file.p[first - 1] == '\r')) {
        buf_add_slice(out, file);
        return;
    }
    size_t from = 0;
    for (size_t i = 0; i < file.n; i++) {
        if (file.p[i] != '\n' || (i && file.p[i - 1] == '\r')) continue;
        buf_add(out, file.p + from, i - from);
        buf_add_char(out, '\r');
        from = i;
    }
    buf_add(out, file.p + from, file.n - from);
}
