#include "services/smtpd/parse.h"

#include <arpa/inet.h>

#include "services/smtpd/limits.h"

enum smtp_verb smtp_parse_verb(struct slice line, struct slice *argument) {
    static const struct {
        const char *word;
        enum smtp_verb verb;
    } verbs[] = {{"EHLO", SMTP_EHLO},         {"HELO", SMTP_HELO}, {"MAIL", SMTP_MAIL}, {"RCPT", SMTP_RCPT},
                 {"DATA", SMTP_DATA},         {"BDAT", SMTP_BDAT}, {"RSET", SMTP_RSET}, {"NOOP", SMTP_NOOP},
                 {"QUIT", SMTP_QUIT},         {"VRFY", SMTP_VRFY}, {"EXPN", SMTP_EXPN}, {"HELP", SMTP_HELP},
                 {"STARTTLS", SMTP_STARTTLS}, {"AUTH", SMTP_AUTH}};
    size_t n = 0;
    while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t') n++;
    struct slice word = slice_head(line, n);
    *argument = slice_trim(slice_skip(line, n));
    if (memchr(line.p, 0, line.n) || memchr(line.p, '\r', line.n) || memchr(line.p, '\n', line.n))
        return SMTP_UNKNOWN; /* only CRLF ends a line (§2.3.8) */
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (slice_is_nocase(word, verbs[i].word)) return verbs[i].verb;
    return SMTP_UNKNOWN;
}

bool smtp_is_ascii(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80) return false;
    return true;
}

/* atext of RFC 5322 §3.2.3, and any 8-bit byte (RFC 6531 §3.3; that it is UTF-8 is checked for the
 * whole). */
static bool is_atext(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80 ||
           (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool is_utf8(struct slice s) {
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
        if (n == 0 || n > s.n - i) return false;
        for (size_t k = 1; k < n; k++)
            if (((unsigned char)s.p[i + k] & 0xc0) != 0x80) return false;
        unsigned char second = n > 1 ? (unsigned char)s.p[i + 1] : 0; /* no overlong forms, no surrogates, nothing past
                                                                         U+10FFFF (RFC 3629 §4) */
        if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
            (c == 0xf4 && second > 0x8f))
            return false;
        i += n;
    }
    return true;
}

/* Where the local part at the start of s ends, or 0: a dot-string or a quoted-string (§4.1.2). */
static size_t local_part_length(struct slice s) {
    if (s.n && s.p[0] == '"') {
        for (size_t i = 1; i < s.n; i++) {
            if (s.p[i] == '\\')
                i++;
            else if (s.p[i] == '"')
                return i + 1;
            else if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
                return 0;
        }
        return 0;
    }
    size_t n = 0;
    while (n < s.n && (is_atext(s.p[n]) || (s.p[n] == '.' && n > 0 && s.p[n - 1] != '.'))) n++;
    return n && s.p[n - 1] != '.' ? n : 0;
}

static bool is_domain(struct slice d) {
    if (d.n >= 2 && d.p[0] == '[' && d.p[d.n - 1] == ']') { /* §4.1.3 */
        char text[INET6_ADDRSTRLEN + 1] = {0};
        unsigned char address[16];
        struct slice literal = slice_make(d.p + 1, d.n - 2);
        bool v6 = slice_starts_nocase(literal, SLICE("IPv6:"));
        if (v6) literal = slice_skip(literal, 5);
        if (literal.n >= sizeof text) return false;
        memcpy(text, literal.p, literal.n);
        return inet_pton(v6 ? AF_INET6 : AF_INET, text, address) == 1;
    }
    if (!d.n || d.n > 255) return false;
    size_t label = 0;
    for (size_t i = 0; i <= d.n; i++) {
        char c = i < d.n ? d.p[i] : '.';
        if (c == '.') {
            if (label == 0 || label > 63 || d.p[i - 1] == '-') return false;
            label = 0;
            continue;
        }
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      (unsigned char)c >= 0x80 || c == '_';
        if (!letter && (c != '-' || label == 0)) return false;
        label++;
    }
    return true;
}

int smtp_parse_path(struct slice *argument, const char *keyword, struct slice *address) {
    struct slice rest = *argument, route;
    size_t n = strlen(keyword);
    if (!slice_starts_nocase(rest, slice_of(keyword)) || rest.n <= n || rest.p[n] != ':') return SMTP_PATH_INVALID;
    rest = slice_trim(slice_skip(rest, n + 1));
    if (!rest.n || rest.p[0] != '<') return SMTP_PATH_INVALID;
    rest = slice_skip(rest, 1);
    if (rest.n && rest.p[0] == '@' && !slice_cut(&rest, ':', &route)) return SMTP_PATH_INVALID; /* "<@a,@b:user@c>" */
    struct slice path = rest;
    if (rest.n && rest.p[0] == '>') {
        *address = slice_head(rest, 0);
        rest = slice_skip(rest, 1);
    } else {
        size_t local = local_part_length(rest);
        if (!local) return SMTP_PATH_INVALID;
        rest = slice_skip(rest, local);
        if (rest.n && rest.p[0] == '>' &&
            slice_is_nocase(slice_head(path, local), "postmaster")) { /* §4.5.1: without a domain */
            *address = slice_head(path, local);
        } else {
            struct slice domain;
            if (!rest.n || rest.p[0] != '@') return SMTP_PATH_INVALID;
            rest = slice_skip(rest, 1);
            ptrdiff_t end = slice_find(rest, '>');
            if (end < 0) return SMTP_PATH_INVALID;
            domain = slice_head(rest, (size_t)end);
            if (local > SMTP_LOCAL_MAX || domain.n > SMTP_DOMAIN_MAX) return SMTP_PATH_TOO_LONG;
            if (!is_domain(domain)) return SMTP_PATH_INVALID;
            rest = slice_skip(rest, (size_t)end);
            *address = slice_head(path, local + 1 + domain.n);
            if (address->n + 2 > SMTP_PATH_MAX) return SMTP_PATH_TOO_LONG;
            if (!is_utf8(*address)) return SMTP_PATH_INVALID;
        }
        rest = slice_skip(rest, 1);
    }
    if (rest.n && rest.p[0] != ' ' && rest.p[0] != '\t') return SMTP_PATH_INVALID;
    *argument = slice_trim(rest);
    return 0;
}

int smtp_next_parameter(struct slice *rest, struct slice *key, struct slice *value) {
    *rest = slice_trim(*rest);
    if (!rest->n) return 0;
    size_t n = 0;
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t') n++;
    struct slice word = slice_head(*rest, n);
    *rest = slice_skip(*rest, n);
    if (!slice_cut(&word, '=', key)) {
        *key = word;
        *value = slice_skip(word, word.n);
    } else {
        *value = word;
        if (!value->n) return -1;
    }
    if (!key->n) return -1;
    for (size_t i = 0; i < key->n; i++) {
        char c = key->p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c != '-' || i == 0)) return -1;
    }
    return 1;
}

bool smtp_is_hello_name(struct slice s) {
    if (!s.n || s.n > 255) return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || strchr("<>()\"\\;,", s.p[i])) return false;
    return is_utf8(s);
}

static void check_run(struct smtp_text *t, const char *p, size_t n) {
    if (memchr(p, '\n', n)) t->bare = true;
    if (memchr(p, 0, n)) t->nul = true;
}

size_t smtp_take_text(struct smtp_text *t, struct slice piece, struct buf *out) {
    const char *p = piece.p, *end = p + piece.n;
    while (p < end && !t->ended) {
        switch (t->state) {
        case SMTP_LINE_START:
            if (*p == '.') {
                t->state = SMTP_AFTER_DOT; /* a dot at a line's start is never message (§4.5.2) */
                p++;
                break;
            }
            t->state = SMTP_IN_LINE;
            /* fallthrough */
        case SMTP_IN_LINE: {
            const char *cr = memchr(p, '\r', (size_t)(end - p));
            size_t n = (size_t)((cr ? cr : end) - p);
            check_run(t, p, n);
            if (cr) {
                n++;
                t->state = SMTP_AFTER_CR;
            }
            buf_add(out, p, n);
            p += n;
            break;
        }
        case SMTP_AFTER_CR:
            if (*p == '\n') {
                buf_add_char(out, '\n');
                t->state = SMTP_LINE_START;
                p++;
            } else {
                t->bare = true;
                t->state = SMTP_IN_LINE;
            }
            break;
        case SMTP_AFTER_DOT:
            if (*p == '\r') {
                t->state = SMTP_AFTER_DOT_CR;
                p++;
            } else {
                t->state = SMTP_IN_LINE;
            }
            break;
        case SMTP_AFTER_DOT_CR:
            if (*p == '\n') {
                t->ended = true;
                p++;
            } else { /* "." CR and something else: the dot was stuffing, the CR is bare */
                t->bare = true;
                buf_add_char(out, '\r');
                t->state = SMTP_IN_LINE;
            }
            break;
        }
    }
    return (size_t)(p - piece.p);
}

void smtp_check_text(struct smtp_text *t, struct slice piece) {
    const char *p = piece.p, *end = p + piece.n;
    while (p < end) {
        if (t->state == SMTP_AFTER_CR) {
            if (*p != '\n')
                t->bare = true;
            else
                p++;
            t->state = SMTP_IN_LINE;
            continue;
        }
        const char *cr = memchr(p, '\r', (size_t)(end - p));
        check_run(t, p, (size_t)((cr ? cr : end) - p));
        if (!cr) return;
        t->state = SMTP_AFTER_CR;
        p = cr + 1;
    }
}
