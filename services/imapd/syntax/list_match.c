#include "services/imapd/syntax/list_match.h"

#include <strings.h>

/* How many bytes at the beginning of a name are INBOX, which is written in any case (RFC 9051
 * §5.1). */
static size_t inbox_bytes(struct slice name) {
    return name.n >= 5 && memcmp(name.p, "INBOX", 5) == 0 && (name.n == 5 || name.p[5] == '/') ? 5 : 0;
}

/* Backtracks to the last "*", and to the last "%" after it if no "/" follows. This is sufficient,
 * because an earlier wildcard can only match less. A "%" that fails at a "/" falls back to the "*"
 * before it. */
bool list_match(struct slice pattern, struct slice name) {
    size_t p = 0, n = 0, star_p = SIZE_MAX, star_n = 0, percent_p = SIZE_MAX, percent_n = 0;
    const size_t any_case = inbox_bytes(name);
    for (;;) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star_p = ++p;
            star_n = n;
            percent_p = SIZE_MAX;
            continue;
        }
        if (p < pattern.n && pattern.p[p] == '%') {
            percent_p = ++p;
            percent_n = n;
            continue;
        }
        if (n == name.n && p == pattern.n) return true;
        if (n < name.n && p < pattern.n &&
            (pattern.p[p] == name.p[n] || (n < any_case && strncasecmp(pattern.p + p, name.p + n, 1) == 0))) {
            p++;
            n++;
            continue;
        }
        if (percent_p != SIZE_MAX && percent_n < name.n && name.p[percent_n] != '/') {
            n = ++percent_n;
            p = percent_p;
        } else if (star_p != SIZE_MAX && star_n < name.n) {
            n = ++star_n;
            p = star_p;
            percent_p = SIZE_MAX;
        } else {
            return false;
        }
    }
}
