#include "services/pop3d/pop3d.h"

void pop3_stuff(struct slice message, size_t body_lines, struct buf *out) {
    bool in_header = true;
    buf_reserve(out, message.n + message.n / 64 + 8);
    for (size_t at = 0; at < message.n;) {
        /* A line ends only with CRLF, so that dots are stuffed exactly where clients see the start
         * of a line. */
        const char *lf = message.p + at;
        while ((lf = memchr(lf, '\n', message.n - (size_t)(lf - message.p))) &&
               (lf == message.p + at || lf[-1] != '\r'))
            lf++;
        size_t next = lf ? (size_t)(lf - message.p) + 1 : message.n;
        if (!in_header && body_lines-- == 0) break;
        if (message.p[at] == '.') buf_add_char(out, '.');
        buf_add(out, message.p + at, next - at);
        if (!lf) buf_add_str(out, "\r\n");
        if (lf && next - at == 2) in_header = false;
        at = next;
    }
    buf_add_str(out, ".\r\n");
}
