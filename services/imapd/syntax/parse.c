#include "services/imapd/syntax/parse.h"

#include "libcommon/base/arena.h"

bool literal_announced(struct slice line, struct literal *literal) {
    if (line.n < 3 || line.p[line.n - 1] != '}') return false;
    ptrdiff_t open = slice_find_last(line, '{');
    if (open < 0) return false;
    struct slice number = {line.p + open + 1, line.n - (size_t)open - 2};
    literal->plus = number.n && number.p[number.n - 1] == '+';
    if (literal->plus) number.n--;
    return slice_to_u64(number, UINT32_MAX, &literal->size) == 0;
}

char parse_peek(const struct parser *p) { return p->p < p->end ? *p->p : 0; }
bool parse_end(const struct parser *p) { return p->p == p->end; }

bool parse_char(struct parser *p, char c) {
    if (p->p == p->end || *p->p != c) return false;
    p->p++;
    return true;
}

/* atom-char: no control, space, ( ) { % * " \ ] */
static bool is_atom_char(char c) { return c > 0x20 && c < 0x7f && !strchr("(){%*\"\\]", c); }
/* ASTRING-CHAR also has "]" */
static bool is_astring_char(char c) { return is_atom_char(c) || c == ']'; }
static bool is_list_char(char c) { return is_astring_char(c) || c == '%' || c == '*'; }
static bool is_tag_char(char c) { return is_astring_char(c) && c != '+'; }

static bool take_while(struct parser *p, bool (*allowed)(char), struct slice *s) {
    const char *start = p->p;
    while (p->p < p->end && allowed(*p->p)) p->p++;
    *s = slice_make(start, (size_t)(p->p - start));
    return s->n > 0;
}

bool parse_tag(struct parser *p, struct slice *tag) { return take_while(p, is_tag_char, tag); }
bool parse_atom(struct parser *p, struct slice *atom) { return take_while(p, is_atom_char, atom); }

bool parse_word(struct parser *p, const char *word) {
    struct parser before = *p;
    struct slice atom;
    if (parse_atom(p, &atom) && slice_is_nocase(atom, word)) return true;
    *p = before;
    return false;
}

static bool parse_quoted(struct parser *p, struct slice *s) {
    const char *q = p->p + 1;
    size_t escapes = 0;
    for (; q < p->end && *q != '"'; q++) {
        if (*q == '\r' || *q == '\n' || *q == 0) return false;
        if (*q == '\\') {
            if (q + 1 == p->end || (q[1] != '"' && q[1] != '\\')) return false;
            escapes++;
            q++;
        }
    }
    if (q == p->end) return false;
    struct slice inside = {p->p + 1, (size_t)(q - p->p) - 1};
    p->p = q + 1;
    if (!escapes) {
        *s = inside;
        return true;
    }
    char *out = arena_alloc(p->arena, inside.n);
    size_t n = 0;
    for (size_t i = 0; i < inside.n; i++) {
        if (inside.p[i] == '\\') i++;
        out[n++] = inside.p[i];
    }
    *s = slice_make(out, n);
    return true;
}

static bool take_literal(struct parser *p, struct slice *s) {
    const char *q = p->p;
    if (q < p->end && *q == '~') q++;
    if (q == p->end || *q != '{') return false;
    const char *close = memchr(q, '}', (size_t)(p->end - q));
    struct literal literal;
    if (!close || !literal_announced(slice_make(q, (size_t)(close - q) + 1), &literal)) return false;
    q = close + 1;
    if (p->end - q < 2 || q[0] != '\r' || q[1] != '\n' || (uint64_t)(p->end - q - 2) < literal.size) return false;
    *s = slice_make(q + 2, (size_t)literal.size);
    p->p = q + 2 + literal.size;
    return true;
}

bool parse_literal(struct parser *p, struct slice *s) { return take_literal(p, s); }

bool parse_string(struct parser *p, struct slice *s) {
    char c = parse_peek(p);
    if (c == '"') return parse_quoted(p, s);
    if (c != '{') return false;
    struct parser before = *p;
    if (take_literal(p, s) && !memchr(s->p, 0, s->n)) return true;
    *p = before;
    return false;
}

bool parse_astring(struct parser *p, struct slice *s) {
    return parse_string(p, s) || take_while(p, is_astring_char, s);
}
bool parse_list_mailbox(struct parser *p, struct slice *s) {
    return parse_string(p, s) || take_while(p, is_list_char, s);
}

bool parse_nstring(struct parser *p, struct slice *s, bool *nil) {
    *nil = parse_word(p, "NIL");
    if (*nil) *s = slice_make("", 0);
    return *nil || parse_string(p, s);
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool parse_number(struct parser *p, uint64_t max, uint64_t *value) {
    struct parser before = *p;
    struct slice digits;
    if (take_while(p, is_digit, &digits) && slice_to_u64(digits, max, value) == 0) return true;
    *p = before;
    return false;
}

bool parse_u32(struct parser *p, uint32_t *value) {
    uint64_t v;
    if (!parse_number(p, UINT32_MAX, &v)) return false;
    *value = (uint32_t)v;
    return true;
}

/* mod-sequence values are 63 bits (RFC 7162 §7) */
bool parse_u64(struct parser *p, uint64_t *value) { return parse_number(p, INT64_MAX, value); }

bool parse_flag(struct parser *p, struct slice *flag) {
    const char *start = p->p;
    struct slice atom;
    parse_char(p, '\\');
    if (!parse_atom(p, &atom)) {
        p->p = start;
        return false;
    }
    *flag = slice_make(start, (size_t)(p->p - start));
    return true;
}

/* Howard Hinnant's algorithm, with years that begin in March. */
int64_t days_from_civil(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool fixed_digits(struct parser *p, size_t count, int *value) {
    if ((size_t)(p->end - p->p) < count) return false;
    *value = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_digit(p->p[i])) return false;
        *value = *value * 10 + (p->p[i] - '0');
    }
    p->p += count;
    return true;
}

static bool take_day_month_year(struct parser *p, int64_t *day) {
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int d, y, month = 0;
    if (parse_space(p)) {
        if (!fixed_digits(p, 1, &d)) return false;
    } else if (p->end - p->p > 1 && is_digit(p->p[1])) {
        if (!fixed_digits(p, 2, &d)) return false;
    } else if (!fixed_digits(p, 1, &d)) {
        return false;
    }
    if (!parse_char(p, '-') || p->end - p->p < 3) return false;
    for (int m = 0; m < 12; m++)
        if (strncasecmp(p->p, months + m * 3, 3) == 0) month = m + 1;
    p->p += 3;
    if (!month || !parse_char(p, '-') || !fixed_digits(p, 4, &y) || d < 1 || d > 31) return false;
    *day = days_from_civil(y, month, d) * 86400;
    return true;
}

bool parse_date(struct parser *p, int64_t *day) {
    struct parser before = *p;
    bool quoted = parse_char(p, '"');
    if (take_day_month_year(p, day) && (!quoted || parse_char(p, '"'))) return true;
    *p = before;
    return false;
}

bool parse_date_time(struct parser *p, int64_t *when) {
    struct parser before = *p;
    int64_t day;
    int h, m, s, zone_h, zone_m;
    if (parse_char(p, '"') && take_day_month_year(p, &day) && parse_space(p) && fixed_digits(p, 2, &h) &&
        parse_char(p, ':') && fixed_digits(p, 2, &m) && parse_char(p, ':') && fixed_digits(p, 2, &s) &&
        parse_space(p)) {
        int sign = parse_char(p, '-') ? -1 : parse_char(p, '+') ? 1 : 0;
        if (sign && fixed_digits(p, 2, &zone_h) && fixed_digits(p, 2, &zone_m) && parse_char(p, '"') && h < 24 &&
            m < 60 && s < 61 && zone_h < 24 && zone_m < 60) {
            *when = day + h * 3600 + m * 60 + s - sign * (zone_h * 3600 + zone_m * 60);
            return true;
        }
    }
    *p = before;
    return false;
}
