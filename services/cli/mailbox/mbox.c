#include "services/cli/mailbox/mbox.h"

#include <stdio.h>
#include <time.h>

#include "libcommon/mail/date.h"
#include "libcommon/mail/header.h"

static const struct slice raw_field = {"X-Postbus-Raw: ", 15};

static struct slice line_at(struct slice file, size_t at, size_t *next) {
    struct slice rest = slice_skip(file, at);
    ptrdiff_t lf = slice_find(rest, '\n');
    *next = at + (lf >= 0 ? (size_t)lf + 1 : rest.n);
    struct slice line = slice_head(rest, lf >= 0 ? (size_t)lf : rest.n);
    if (line.n && line.p[line.n - 1] == '\r') line.n--; // NOLINT(clang-analyzer-core.NullDereference): n is not 0
    return line;
}

/* Cuts the next word of a line. */
static struct slice word(struct slice *line) {
    while (line->n && *line->p == ' ') *line = slice_skip(*line, 1);
    size_t n = 0;
    while (n < line->n && line->p[n] != ' ') n++;
    struct slice found = slice_head(*line, n);
    *line = slice_skip(*line, n);
    return found;
}

/* "Mon Nov 23 09:00:00 2026", as asctime() writes it; zones after it are ignored. 0: it is not one. */
static int64_t read_asctime(struct slice line) {
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct slice month, day, clock, year, hour, minute, second = SLICE("0");
    uint64_t d, h, m, s, y;
    word(&line);
    month = word(&line);
    day = word(&line);
    clock = word(&line);
    year = word(&line);
    const char *at = month.n == 3 ? memmem(months, sizeof months - 1, month.p, 3) : NULL;
    if (slice_to_u64(year, 9999, &y) != 0) year = word(&line); /* a zone before the year */
    if (!at || (at - months) % 3 || !slice_cut(&clock, ':', &hour)) return 0;
    if (slice_cut(&clock, ':', &minute))
        second = clock;
    else
        minute = clock;
    if (slice_to_u64(day, 31, &d) != 0 || slice_to_u64(hour, 23, &h) != 0 || slice_to_u64(minute, 59, &m) != 0 ||
        slice_to_u64(second, 60, &s) != 0 || slice_to_u64(year, 9999, &y) != 0 || y < 1900 || d < 1)
        return 0;
    return date_days((int)y, (int)(at - months) / 3 + 1, (int)d) * 86400 + (int64_t)(h * 3600 + m * 60 + s);
}

/* "From <sender> <date>": the line between messages. A line of a text that only begins with "From " has no time. */
static bool is_from_line(struct slice line, struct slice *sender, int64_t *date) {
    if (!slice_starts(line, SLICE("From "))) return false;
    struct slice rest = slice_skip(line, 5);
    *sender = word(&rest);
    *date = read_asctime(rest);
    for (size_t i = 0; i + 4 < rest.n; i++)
        if (rest.p[i] == ':' && rest.p[i - (i > 0)] >= '0' && rest.p[i - (i > 0)] <= '9' && rest.p[i + 1] >= '0' &&
            rest.p[i + 1] <= '9')
            return true;
    return false;
}

/* The size after X-Postbus-Raw among the first fields, and where the message begins; false: there is none. */
static bool find_raw(struct slice text, size_t *start, uint64_t *size) {
    size_t at = 0, next;
    while (at < text.n) {
        struct slice line = line_at(text, at, &next);
        if (slice_starts(line, raw_field)) {
            *start = next;
            return slice_to_u64(slice_skip(line, raw_field.n), text.n - next, size) == 0;
        }
        if (!slice_starts_nocase(line, SLICE("Status:")) && !slice_starts_nocase(line, SLICE("X-Status:")) &&
            !slice_starts_nocase(line, SLICE("X-Keywords:")))
            return false;
        at = next;
    }
    return false;
}

bool mbox_next(struct slice file, size_t *at, struct mbox_message *out) {
    size_t next, start;
    uint64_t raw;
    while (*at < file.n && !is_from_line(line_at(file, *at, &next), &out->sender, &out->date)) *at = next;
    if (*at >= file.n) return false;
    size_t begin = next, end = file.n, scan = begin;
    bool empty_before = false;
    if (find_raw(slice_skip(file, begin), &start, &raw)) scan = begin + start + (size_t)raw;
    while (scan < file.n) {
        struct slice sender, line = line_at(file, scan, &next);
        int64_t date;
        if (empty_before && is_from_line(line, &sender, &date)) {
            end = scan;
            break;
        }
        empty_before = line.n == 0;
        scan = next;
    }
    out->text = slice_make(file.p + begin, end - begin);
    /* The empty line before the next "From " line, or at the end of the file, belongs to neither message. */
    if (out->text.n && (empty_before || end < file.n) && out->text.p[out->text.n - 1] == '\n') {
        out->text.n--;
        if (out->text.n && out->text.p[out->text.n - 1] == '\r') out->text.n--;
    }
    *at = end;
    return true;
}

static uint32_t flags_of(struct slice letters) {
    uint32_t flags = 0;
    for (size_t i = 0; i < letters.n; i++) {
        char c = letters.p[i];
        flags |= c == 'R'   ? MAILDIR_SEEN
                 : c == 'A' ? MAILDIR_ANSWERED
                 : c == 'F' ? MAILDIR_FLAGGED
                 : c == 'D' ? MAILDIR_DELETED
                 : c == 'T' ? MAILDIR_DRAFT
                            : 0;
    }
    return flags;
}

static void take_field(struct slice name, struct slice value, uint32_t *flags, struct buf *keywords) {
    struct slice rest = slice_trim(value);
    if (slice_is_nocase(name, "Status") || slice_is_nocase(name, "X-Status")) *flags |= flags_of(rest);
    if (!slice_is_nocase(name, "X-Keywords")) return;
    for (struct slice one = word(&rest); one.n; one = word(&rest)) {
        if (keywords->n) buf_add_char(keywords, ' ');
        buf_add_slice(keywords, one);
    }
}

/* A message's lines with CRLF, and without the ">" of lines that begin with ">…From ". */
static void add_lines(struct slice text, struct buf *out) {
    for (size_t at = 0, next; at < text.n; at = next) {
        struct slice rest = slice_skip(text, at), line;
        ptrdiff_t lf = slice_find(rest, '\n');
        next = at + (lf >= 0 ? (size_t)lf + 1 : rest.n);
        line = slice_head(rest, lf >= 0 ? (size_t)lf : rest.n);
        size_t quotes = 0;
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): n is not 0
        while (quotes < line.n && line.p[quotes] == '>') quotes++;
        if (quotes && slice_starts(slice_skip(line, quotes), SLICE("From "))) line = slice_skip(line, 1);
        buf_add_slice(out, line);
        if (lf >= 0) buf_add_str(out, line.n && line.p[line.n - 1] == '\r' ? "\n" : "\r\n");
    }
}

void mbox_unpack(const struct mbox_message *m, struct buf *message, uint32_t *flags, struct buf *keywords) {
    size_t at = 0, next, start;
    bool own = false;
    uint64_t raw;
    *flags = 0;
    while (at < m->text.n) { /* the first fields, which are not part of the message */
        struct slice line = line_at(m->text, at, &next), name, value = line;
        if (!slice_cut(&value, ':', &name)) break;
        if (!slice_is_nocase(name, "Status") && !slice_is_nocase(name, "X-Status") &&
            !slice_is_nocase(name, "X-Keywords"))
            break;
        take_field(name, value, flags, keywords);
        own = true;
        at = next;
    }
    if (find_raw(m->text, &start, &raw) && raw <= m->text.n - start) {
        buf_add_slice(message, slice_head(slice_skip(m->text, start), (size_t)raw));
        return;
    }
    size_t from = message->n, body, position = 0;
    add_lines(slice_skip(m->text, at), message);
    if (own) return;
    struct slice header = header_block(slice_skip(buf_slice(message), from), &body);
    struct header_field field;
    while (header_next(header, &position, &field) == 1) take_field(field.name, field.value, flags, keywords);
}

/* Whether LF for CRLF and back gives the same bytes, and the first field is not one of those that mbox_unpack()
 * removes. */
static bool is_plain(struct slice message) {
    static const char *const own[] = {"Status:", "X-Status:", "X-Keywords:", "X-Postbus-Raw:"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (slice_starts_nocase(message, slice_of(own[i]))) return false; /* would be taken for one of ours */
    if (message.n < 2 || memcmp(message.p + message.n - 2, "\r\n", 2) != 0) return false;
    for (size_t i = 0; i < message.n; i++) {
        if (message.p[i] == '\n' && (i == 0 || message.p[i - 1] != '\r')) return false;
        if (message.p[i] == '\r' && i + 2 < message.n && message.p[i + 1] == '\r' && message.p[i + 2] == '\n')
            return false; /* "\r\r\n" would become "\r\n" */
    }
    return true;
}

void mbox_pack(struct slice message, struct slice sender, int64_t date, uint32_t flags, struct slice keywords,
               struct buf *out) {
    char when[64] = "Thu Jan  1 00:00:00 1970";
    struct tm tm;
    time_t seconds = (time_t)date;
    if (gmtime_r(&seconds, &tm)) strftime(when, sizeof when, "%a %b %e %H:%M:%S %Y", &tm);
    buf_add_str(out, "From ");
    buf_add_slice(out, sender.n ? sender : SLICE("MAILER-DAEMON"));
    buf_printf(out, " %s\nStatus: %sO\n", when, flags & MAILDIR_SEEN ? "R" : "");
    if (flags & (MAILDIR_ANSWERED | MAILDIR_FLAGGED | MAILDIR_DELETED | MAILDIR_DRAFT))
        buf_printf(out, "X-Status: %s%s%s%s\n", flags & MAILDIR_ANSWERED ? "A" : "", flags & MAILDIR_FLAGGED ? "F" : "",
                   flags & MAILDIR_DELETED ? "D" : "", flags & MAILDIR_DRAFT ? "T" : "");
    if (keywords.n) buf_printf(out, "X-Keywords: %.*s\n", SLICE_FMT(keywords));
    if (!is_plain(message)) {
        buf_printf(out, "%.*s%zu\n", SLICE_FMT(raw_field), message.n);
        buf_add_slice(out, message);
        buf_add_str(out, "\n\n");
        return;
    }
    for (size_t at = 0; at < message.n;) {
        const char *crlf = memmem(message.p + at, message.n - at, "\r\n", 2);
        struct slice line = slice_make(message.p + at, (size_t)(crlf - (message.p + at)));
        size_t quotes = 0;
        while (quotes < line.n && line.p[quotes] == '>') quotes++;
        if (slice_starts(slice_skip(line, quotes), SLICE("From "))) buf_add_char(out, '>');
        buf_add_slice(out, line);
        buf_add_char(out, '\n');
        at += line.n + 2;
    }
    buf_add_char(out, '\n');
}
