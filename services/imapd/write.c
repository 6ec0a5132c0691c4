#include "services/imapd/write.h"

#include <stdio.h>
#include <time.h>

enum { QUOTED_MAX = 1000 };

void write_string(struct buf *out, struct slice s, bool utf8_quoted) {
    bool quotable = s.n <= QUOTED_MAX;
    for (size_t i = 0; i < s.n && quotable; i++) {
        unsigned char c = (unsigned char)s.p[i];
        quotable = c >= 0x20 && c != 0x7f && (c < 0x80 || utf8_quoted);
    }
    if (!quotable) {
        write_literal(out, s);
        return;
    }
    buf_add_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\') buf_add_char(out, '\\');
        buf_add_char(out, s.p[i]);
    }
    buf_add_char(out, '"');
}

void write_astring(struct buf *out, struct slice s, bool utf8_quoted) {
    bool atom = s.n > 0 && !slice_is_nocase(s, "NIL");
    for (size_t i = 0; i < s.n && atom; i++) atom = s.p[i] > 0x20 && s.p[i] < 0x7f && !strchr("(){%*\"\\", s.p[i]);
    if (atom)
        buf_add_slice(out, s);
    else
        write_string(out, s, utf8_quoted);
}

void write_literal(struct buf *out, struct slice s) {
    buf_printf(out, "{%zu}\r\n", s.n);
    size_t from = out->n;
    buf_add_slice(out, s);
    for (char *nul = s.n ? memchr(out->data + from, 0, s.n) : NULL; nul;
         nul = memchr(nul, 0, (size_t)(out->data + out->n - nul)))
        *nul = (char)0x80;
}

void write_literal8(struct buf *out, struct slice s) {
    buf_printf(out, "~{%zu}\r\n", s.n);
    buf_add_slice(out, s);
}

void write_date_time(struct buf *out, int64_t when) {
    char text[64];
    struct tm tm;
    time_t t = (time_t)when;
    gmtime_r(&t, &tm);
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    strftime(text, sizeof text, "%Y %H:%M:%S +0000", &tm);
    buf_printf(out, "\"%02d-%s-%s\"", tm.tm_mday, months[tm.tm_mon], text);
}

void write_formatted(struct buf *out, const char *format, va_list ap) {
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    if (n > 0) {
        vsnprintf(buf_reserve(out, (size_t)n + 1), (size_t)n + 1, format, again);
        out->n += (size_t)n;
    }
    va_end(again);
}
