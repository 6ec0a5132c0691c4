#include "services/delivery/session/stuffing.h"

static void end_line(struct stuffing *s, struct buf *out) {
    buf_add(out, "\r\n", 2);
    s->in_line = s->carriage = false;
}

void stuffing_add(struct stuffing *s, struct slice piece, struct buf *out) {
    while (piece.n) {
        if (s->carriage) { /* with or without its LF, it ends the line */
            if (*piece.p == '\n') piece = slice_skip(piece, 1);
            end_line(s, out);
            continue;
        }
        size_t plain = 0;
        while (plain < piece.n && piece.p[plain] != '\r' && piece.p[plain] != '\n') plain++;
        if (plain) {
            if (!s->in_line && *piece.p == '.') buf_add_char(out, '.');
            buf_add(out, piece.p, plain);
            s->in_line = true;
            piece = slice_skip(piece, plain);
        } else if (*piece.p == '\r') {
            s->carriage = true;
            piece = slice_skip(piece, 1);
        } else {
            end_line(s, out);
            piece = slice_skip(piece, 1);
        }
    }
}

void stuffing_end(struct stuffing *s, struct buf *out) {
    if (s->in_line || s->carriage) end_line(s, out);
}
