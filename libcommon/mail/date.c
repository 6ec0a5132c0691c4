#include "libcommon/mail/date.h"

#include <stdlib.h>

struct reader {
    struct slice s;
    size_t at;
};

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static char peek(const struct reader *r) { return r->at < r->s.n ? r->s.p[r->at] : '\0'; }

/* White space, folds, comments; nesting is counted. */
static void skip_space(struct reader *r) {
    while (r->at < r->s.n) {
        char c = peek(r);
        if (c == '(') {
            size_t depth = 0;
            for (; r->at < r->s.n; r->at++) {
                c = r->s.p[r->at];
                if (c == '\\') {
                    if (r->at + 1 < r->s.n) r->at++;
                } else if (c == '(') {
                    depth++;
                } else if (c == ')' && --depth == 0) {
                    r->at++;
                    break;
                }
            }
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            r->at++;
        } else {
            return;
        }
    }
}

static struct slice word(struct reader *r) {
    size_t from = r->at;
    while (r->at < r->s.n && is_letter(peek(r))) r->at++;
    return slice_make(r->s.p + from, r->at - from);
}

/* Reads 1 to max digits; returns how many, or 0. */
static int number(struct reader *r, int max, int *value) {
    int digits = 0;
    *value = 0;
    while (digits < max && is_digit(peek(r))) {
        *value = *value * 10 + (r->s.p[r->at++] - '0');
        digits++;
    }
    return is_digit(peek(r)) ? 0 : digits;
}

static int month_of(struct slice name) {
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (name.n < 3) return 0;
    for (int i = 0; i < 12; i++)
        if (slice_equal_nocase(slice_head(name, 3), slice_make(names + 3 * i, 3))) return i + 1;
    return 0;
}

static bool skip_separator(struct reader *r) {
    size_t before = r->at;
    skip_space(r);
    if (peek(r) == '-') r->at++;
    skip_space(r);
    return r->at > before;
}

int64_t date_days(int year, int month, int day) {
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400, in_era = y - era * 400;
    int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

static int month_days(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* "+0100", "GMT", "EDT", nothing: minutes east (RFC 5322 §4.3; a military letter is not reliable
 * and counts as +0000). */
static int read_zone(struct reader *r) {
    static const struct {
        const char *name;
        int hours;
    } zones[] = {{"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5},
                 {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7}};
    char sign = peek(r);
    if (sign == '+' || sign == '-') {
        int value;
        r->at++;
        if (number(r, 4, &value) != 4 || value % 100 > 59) return 0;
        int minutes = value / 100 * 60 + value % 100;
        return sign == '-' ? -minutes : minutes;
    }
    struct slice name = word(r);
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++)
        if (slice_is_nocase(name, zones[i].name)) return zones[i].hours * 60;
    return 0;
}

int date_parse(struct slice value, struct date *out) {
    struct reader r = {value, 0};
    int day, year, hour, minute, second = 0;
    skip_space(&r);
    if (is_letter(peek(&r))) {
        word(&r);
        skip_space(&r);
        if (peek(&r) == ',') r.at++;
        skip_space(&r);
    }
    if (!number(&r, 2, &day) || !skip_separator(&r)) return -1;
    int month = month_of(word(&r));
    if (!month || !skip_separator(&r)) return -1;
    int digits = number(&r, 4, &year);
    if (digits < 2) return -1;
    if (digits == 2) year += year < 50 ? 2000 : 1900;
    if (digits == 3) year += 1900;
    if (year < 1900 || day < 1 || day > month_days(year, month)) return -1;
    skip_space(&r);
    if (!number(&r, 2, &hour)) return -1;
    skip_space(&r);
    if (peek(&r) != ':') return -1;
    r.at++;
    skip_space(&r);
    if (!number(&r, 2, &minute)) return -1;
    skip_space(&r);
    if (peek(&r) == ':') {
        r.at++;
        skip_space(&r);
        if (!number(&r, 2, &second)) return -1;
        skip_space(&r);
    }
    if (hour > 23 || minute > 59 || second > 60) return -1;
    out->zone_minutes = read_zone(&r);
    out->year = year;
    out->month = month;
    out->day = day;
    out->seconds =
        date_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - (int64_t)out->zone_minutes * 60;
    return 0;
}
