#include "services/cli/mailbox/imap/answer.h"

#include <stdio.h>

#include "libcommon/mail/date.h"

/* A position in an answer. Each function reads the item in its name and advances, or returns false. */
struct reader {
    const char *p, *end;
    struct arena *arena;
};

static struct slice rest(const struct reader *r) { return slice_make(r->p, (size_t)(r->end - r->p)); }

static bool take(struct reader *r, char c) {
    if (r->p == r->end || *r->p != c) return false;
    r->p++;
    return true;
}

/* A number of at most max that ends before another byte. */
static bool take_number(struct reader *r, uint64_t max, uint64_t *value) {
    size_t n = 0;
    struct slice s = rest(r);
    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9') n++;
    if (slice_to_u64(slice_head(s, n), max, value) != 0) return false;
    r->p += n;
    return true;
}

/* The bytes up to a space, a parenthesis, a quote, or the end of the line. */
static bool take_atom(struct reader *r, struct slice *atom) {
    const char *start = r->p;
    while (r->p < r->end && (unsigned char)*r->p > ' ' && !strchr("()\"", *r->p)) r->p++;
    *atom = slice_make(start, (size_t)(r->p - start));
    return atom->n > 0;
}

static bool take_quoted(struct reader *r, struct slice *s) {
    const char *p = r->p;
    bool escaped = false;
    if (p == r->end || *p != '"') return false;
    for (p++; p < r->end && *p != '"'; p++) {
        if (*p == '\r' || *p == '\n') return false;
        if (*p != '\\') continue;
        escaped = true;
        if (++p == r->end) return false;
    }
    if (p == r->end) return false;
    *s = slice_make(r->p + 1, (size_t)(p - r->p - 1));
    r->p = p + 1;
    if (!escaped) return true;
    char *plain = arena_alloc(r->arena, s->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->p[i] == '\\') i++;
        plain[n++] = s->p[i];
    }
    *s = slice_make(plain, n);
    return true;
}

static bool take_literal(struct reader *r, struct slice *s) {
    struct reader at = *r;
    uint64_t size;
    take(&at, '~');
    if (!take(&at, '{') || !take_number(&at, SIZE_MAX / 2, &size)) return false;
    take(&at, '+');
    if (!take(&at, '}') || !take(&at, '\r') || !take(&at, '\n') || (uint64_t)(at.end - at.p) < size) return false;
    *s = slice_make(at.p, (size_t)size);
    r->p = at.p + size;
    return true;
}

static bool take_string(struct reader *r, struct slice *s) { return take_quoted(r, s) || take_literal(r, s); }

/* A string, or NIL, which is empty. */
static bool take_nstring(struct reader *r, struct slice *s) {
    if (slice_starts_nocase(rest(r), SLICE("NIL"))) {
        r->p += 3;
        *s = SLICE("");
        return true;
    }
    return take_string(r, s);
}

static bool take_astring(struct reader *r, struct slice *s) {
    return take_string(r, s) || (r->p < r->end && *r->p != '{' && take_atom(r, s));
}

/* "(…)": what is between the parentheses, which hold words only. */
static bool take_words(struct reader *r, struct slice *s) {
    const char *start = r->p + 1;
    if (!take(r, '(')) return false;
    while (r->p < r->end && *r->p != ')' && *r->p != '(' && *r->p != '\r' && *r->p != '\n') r->p++;
    *s = slice_make(start, (size_t)(r->p - start));
    return take(r, ')');
}

/* A value of any form: an atom, a string, or a list of values in parentheses. */
static bool skip_value(struct reader *r) {
    int depth = 0;
    struct slice unused;
    do {
        while (take(r, ' ')) continue;
        if (take(r, '(')) {
            if (++depth > IMAP_DEPTH_MAX) return false;
        } else if (take(r, ')')) {
            depth--;
        } else if (!take_astring(r, &unused)) {
            return false;
        }
    } while (depth > 0);
    return depth == 0;
}

bool imap_word_next(struct slice *list, struct slice *word) {
    *list = slice_trim(*list);
    if (!list->n) return false;
    if (!slice_cut(list, ' ', word)) {
        *word = *list;
        list->n = 0;
    }
    return true;
}

bool imap_word_has(struct slice list, const char *word) {
    for (struct slice each; imap_word_next(&list, &each);)
        if (slice_is_nocase(each, word)) return true;
    return false;
}

int64_t imap_date_read(struct slice text) {
    static const char months[] = "janfebmaraprmayjunjulaugsepoctnovdec";
    int day, year, hour, minute, second, zone, month = 0;
    char name[4], sign, copy[40];
    text = slice_trim(text);
    if (text.n < 24 || text.n >= sizeof copy || memchr(text.p, 0, text.n)) return -1;
    snprintf(copy, sizeof copy, "%.*s", SLICE_FMT(text));
    if (sscanf(copy, "%2d-%3[A-Za-z]-%4d %2d:%2d:%2d %c%4d", &day, name, &year, &hour, &minute, &second, &sign,
               &zone) != 8)
        return -1;
    for (int i = 0; i < 12; i++)
        if (strncasecmp(name, months + (size_t)i * 3, 3) == 0) month = i + 1;
    if (!month || strlen(name) != 3 || day < 1 || day > 31 || year < 1970 || year > 9999 || hour < 0 || hour > 23 ||
        minute < 0 || minute > 59 || second < 0 || second > 60 || zone < 0 || zone % 100 > 59 ||
        (sign != '+' && sign != '-'))
        return -1;
    int64_t offset = (zone / 100 * 60 + zone % 100) * 60;
    int64_t seconds =
        date_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - (sign == '+' ? offset : -offset);
    return seconds < 0 ? 0 : seconds;
}

/* FETCH's "(UID 5 FLAGS (\Seen) BODY[…] {9}…)" (RFC 9051 §7.5.2). */
static bool read_fetch(struct reader *r, struct imap_answer *out) {
    if (!take(r, '(')) return false;
    while (!take(r, ')')) {
        struct slice item, value;
        uint64_t number;
        while (take(r, ' ')) continue;
        const char *start = r->p;
        while (r->p < r->end && (unsigned char)*r->p > ' ' && !strchr("()[\"", *r->p)) r->p++;
        item = slice_make(start, (size_t)(r->p - start));
        if (!item.n) return false;
        bool section = take(r, '[');
        if (section) { /* the section's name, and "<origin>", which are what was asked for */
            while (r->p < r->end && *r->p != ']' && *r->p != '\r') r->p++;
            if (!take(r, ']')) return false;
            while (r->p < r->end && (unsigned char)*r->p > ' ') r->p++;
        }
        if (!take(r, ' ')) return false;
        if (section && slice_is_nocase(item, "BODY")) {
            if (!take_nstring(r, &out->section)) return false;
            out->has_section = true;
        } else if (slice_is_nocase(item, "UID")) {
            if (!take_number(r, UINT32_MAX, &number)) return false;
            out->uid = (uint32_t)number;
        } else if (slice_is_nocase(item, "RFC822.SIZE")) {
            if (!take_number(r, UINT64_MAX, &out->size)) return false;
        } else if (slice_is_nocase(item, "FLAGS")) {
            if (!take_words(r, &out->flags)) return false;
        } else if (slice_is_nocase(item, "INTERNALDATE")) {
            if (!take_nstring(r, &value)) return false;
            out->date = imap_date_read(value);
        } else if (!skip_value(r)) {
            return false;
        }
    }
    return true;
}

/* LIST's '(\HasNoChildren) "/" name' (RFC 9051 §7.3.1); extended data after it is not used. */
static bool read_list(struct reader *r, struct imap_answer *out) {
    struct slice separator;
    if (!take_words(r, &out->flags) || !take(r, ' ') || !take_nstring(r, &separator) || separator.n > 1 ||
        !take(r, ' ') || !take_astring(r, &out->name))
        return false;
    out->separator = separator.n ? *separator.p : 0;
    return true;
}

/* NAMESPACE's three groups (RFC 2342 §5), each NIL or '(("" "/")("#mh/" "/"))'. */
static bool read_namespaces(struct reader *r, struct imap_answer *out) {
    for (int group = 0; group < 3; group++) {
        struct slice prefix, separator;
        if (group && !take(r, ' ')) return false;
        if (slice_starts_nocase(rest(r), SLICE("NIL"))) {
            r->p += 3;
            continue;
        }
        if (!take(r, '(')) return false;
        while (!take(r, ')')) {
            while (take(r, ' ')) continue;
            if (!take(r, '(') || !take_string(r, &prefix) || !take(r, ' ') || !take_nstring(r, &separator))
                return false;
            while (!take(r, ')')) /* extensions of a namespace */
                if (!take(r, ' ') || !skip_value(r)) return false;
            if (out->namespace_count == IMAP_NAMESPACES_MAX) continue;
            out->namespaces[out->namespace_count].personal = group == 0;
            out->namespaces[out->namespace_count++].prefix = prefix;
        }
    }
    return true;
}

static bool read_status(struct slice line, struct imap_answer *out) {
    static const char *const words[] = {"OK", "NO", "BAD", "PREAUTH", "BYE"};
    ptrdiff_t space = slice_find(line, ' ');
    struct slice word = space < 0 ? line : slice_head(line, (size_t)space);
    struct slice text = space < 0 ? SLICE("") : slice_trim(slice_skip(line, (size_t)space + 1));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!slice_is_nocase(word, words[i])) continue;
        out->kind = IMAP_STATUS;
        out->status = (enum imap_status)i;
        out->text = text;
        ptrdiff_t end = text.n && *text.p == '[' ? slice_find(text, ']') : -1;
        if (end < 0) return true;
        out->code = slice_skip(slice_head(text, (size_t)end), 1);
        out->text = slice_trim(slice_skip(text, (size_t)end + 1));
        return true;
    }
    return false;
}

bool imap_literal_follows(struct slice line, uint64_t *size) {
    struct imap_answer unused = {0};
    struct slice after = line, tag;
    if (!line.n || line.p[line.n - 1] != '}') return false;
    if (slice_cut(&after, ' ', &tag) && (read_status(after, &unused) || slice_is(tag, "+"))) return false;
    ptrdiff_t open = slice_find_last(line, '{');
    if (open < 0) return false;
    struct slice number = slice_skip(slice_head(line, line.n - 1), (size_t)open + 1);
    if (number.n && number.p[number.n - 1] == '+') number.n--;
    return slice_to_u64(number, UINT64_MAX / 2, size) == 0;
}

/* What follows the name of an untagged answer. */
static bool read_data(struct reader *r, struct slice name, struct imap_answer *out) {
    static const struct {
        const char *name;
        enum imap_kind kind;
        bool (*read)(struct reader *r, struct imap_answer *out);
    } kinds[] = {{"LIST", IMAP_LIST, read_list},
                 {"XLIST", IMAP_LIST, read_list},
                 {"LSUB", IMAP_LSUB, read_list},
                 {"NAMESPACE", IMAP_NAMESPACE, read_namespaces}};
    if (slice_is_nocase(name, "CAPABILITY")) {
        out->kind = IMAP_CAPABILITY;
        out->text = slice_trim(rest(r));
        return true;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!slice_is_nocase(name, kinds[i].name)) continue;
        out->kind = kinds[i].kind;
        return take(r, ' ') && kinds[i].read(r, out);
    }
    return true;
}

int imap_answer_read(struct slice answer, struct arena *arena, struct imap_answer *out) {
    struct reader r = {answer.p, answer.p + answer.n, arena};
    struct slice name;
    uint64_t number;
    *out = (struct imap_answer){.date = -1};
    if (answer.n < 2 || memcmp(r.end - 2, "\r\n", 2) != 0) return -1;
    r.end -= 2;
    if (take(&r, '+')) {
        out->kind = IMAP_CONTINUE;
        out->text = slice_trim(rest(&r));
        return 0;
    }
    if (!take_atom(&r, &out->tag) || !take(&r, ' ')) return -1;
    if (!slice_is(out->tag, "*")) return read_status(rest(&r), out) ? 0 : -1;
    if (read_status(rest(&r), out)) return 0;
    if (!take_number(&r, UINT32_MAX, &number)) {
        if (!take_atom(&r, &name)) return -1;
        return read_data(&r, name, out) ? 0 : -1;
    }
    out->number = (uint32_t)number;
    if (!take(&r, ' ') || !take_atom(&r, &name)) return -1;
    if (slice_is_nocase(name, "EXISTS")) out->kind = IMAP_EXISTS;
    if (!slice_is_nocase(name, "FETCH")) return 0;
    out->kind = IMAP_FETCH;
    return take(&r, ' ') && read_fetch(&r, out) ? 0 : -1;
}
