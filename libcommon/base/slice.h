/* A slice is a view of bytes with another owner: a pointer and a length, without a terminating NUL.
 * All parsers of input take slices. */
#ifndef POSTBUS_BASE_SLICE_H
#define POSTBUS_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct slice {
    const char *p;
    size_t n;
};

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})
/* For printf's "%.*s". Long slices are cut at INT_MAX. */
#define SLICE_FMT(s) (int)((s).n > 0x7fffffff ? 0x7fffffff : (s).n), (s).p

/* A slice of a NUL-terminated string; NULL gives an empty slice. */
static inline struct slice slice_of(const char *s) { return (struct slice){s ? s : "", s ? strlen(s) : 0}; }
static inline struct slice slice_make(const void *p, size_t n) { return (struct slice){(const char *)p, n}; }
static inline bool slice_equal(struct slice a, struct slice b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
/* ASCII case-insensitive, as protocol words are. */
static inline bool slice_equal_nocase(struct slice a, struct slice b) {
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}
static inline bool slice_is(struct slice a, const char *word) { return slice_equal(a, slice_of(word)); }
static inline bool slice_is_nocase(struct slice a, const char *word) { return slice_equal_nocase(a, slice_of(word)); }
static inline bool slice_starts(struct slice s, struct slice prefix) {
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}
static inline bool slice_starts_nocase(struct slice s, struct slice prefix) {
    return s.n >= prefix.n && (prefix.n == 0 || strncasecmp(s.p, prefix.p, prefix.n) == 0);
}
/* The rest of s after its first n bytes; empty when there are fewer. */
static inline struct slice slice_skip(struct slice s, size_t n) {
    if (n > s.n) n = s.n;
    return (struct slice){n ? s.p + n : s.p, s.n - n}; /* a NULL slice stays NULL */
}
/* The first n bytes of s, or all of it. */
static inline struct slice slice_head(struct slice s, size_t n) { return (struct slice){s.p, n < s.n ? n : s.n}; }
/* The position of the first byte c in s, or -1. */
static inline ptrdiff_t slice_find(struct slice s, char c) {
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? at - s.p : -1;
}
/* The position of the last byte c in s, or -1. */
static inline ptrdiff_t slice_find_last(struct slice s, char c) {
    const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;
    return at ? at - s.p : -1;
}
/* s without spaces, tabs, CR and LF at both ends. */
static inline struct slice slice_trim(struct slice s) {
    while (s.n && (*s.p == ' ' || *s.p == '\t' || *s.p == '\r' || *s.p == '\n')) s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r' || s.p[s.n - 1] == '\n')) s.n--;
    return s;
}
/* Removes the part before the next byte c, and c itself, from *s; false (and *s unchanged) when c
 * is not in it. */
static inline bool slice_cut(struct slice *s, char c, struct slice *before) {
    ptrdiff_t at = slice_find(*s, c);
    if (at < 0) return false;
    *before = slice_head(*s, (size_t)at);
    *s = slice_skip(*s, (size_t)at + 1);
    return true;
}
/* Reads an unsigned decimal number that is the whole slice: 0 and *value, or -1 (empty, another
 * byte, over max). */
static inline int slice_to_u64(struct slice s, uint64_t max, uint64_t *value) {
    uint64_t v = 0;
    if (s.n == 0 || s.n > 20) return -1;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return -1;
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        if (v > (UINT64_MAX - digit) / 10) return -1;
        v = v * 10 + digit;
    }
    if (v > max) return -1;
    *value = v;
    return 0;
}

#endif
