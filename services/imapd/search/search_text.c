#include "services/imapd/search/search_text.h"

#include <stdlib.h>

#include "libcommon/base/base64.h"
#include "libcommon/mail/encoded_word.h"
#include "libcommon/mail/header.h"
#include "libcommon/mail/mime.h"

enum { LINE_MAX_BYTES = 64 * 1024 };

struct text_search {
    struct arena *arena;
    struct mime *mime;
    size_t count, longest;
    const struct slice *needles;
    bool *found;
    uint32_t part;
    bool in_part;
    /* of the part */
    size_t at, end;
    struct slice charset;
    bool wide;          /* characters of its charset may be divided except at the end of the text */
    struct buf digits;  /* of base 64, fewer than four */
    struct buf decoded; /* without its transfer encoding, not yet converted */
    struct buf utf8;
    struct buf folded; /* begins with the end of the previous piece, because a needle may span
                          both */
};

struct text_search *text_search_create(struct slice message, size_t count, const struct slice needles[], bool found[]) {
    struct text_search *t = memory_alloc(sizeof *t);
    t->arena = arena_create();
    t->mime = mime_parse(t->arena, message);
    t->count = count;
    t->needles = needles;
    t->found = found;
    for (size_t i = 0; i < count; i++) {
        if (needles[i].n > t->longest) t->longest = needles[i].n;
        if (!needles[i].n) found[i] = true;
    }
    return t;
}

void text_search_destroy(struct text_search *t) {
    if (!t) return;
    arena_destroy(t->arena);
    buf_free(&t->digits);
    buf_free(&t->decoded);
    buf_free(&t->utf8);
    buf_free(&t->folded);
    free(t);
}

static bool begin_part(struct text_search *t) {
    const struct mime_part *part = &t->mime->parts[t->part];
    struct header_field field;
    struct mime_value value;
    if (part->is_multipart || part->is_message || !(slice_is_nocase(part->type, "text") || !part->type.n)) return false;
    t->at = part->body;
    t->end = part->end;
    t->charset = SLICE("");
    if (header_find(mime_header(t->mime, t->part), "Content-Type", &field)) {
        mime_read_value(t->arena, field.value, &value);
        if (!mime_parameter(&value, "charset", &t->charset)) t->charset = SLICE("");
    }
    t->wide = slice_starts_nocase(t->charset, SLICE("utf-16")) || slice_starts_nocase(t->charset, SLICE("utf-32")) ||
              slice_starts_nocase(t->charset, SLICE("ucs"));
    buf_reset(&t->digits);
    buf_reset(&t->decoded);
    buf_reset(&t->folded);
    return true;
}

/* Malformed base64 is decoded as far as possible: bytes that are not digits are skipped. */
static void decode_base64(struct text_search *t, struct slice piece) {
    struct buf *d = &t->digits;
    char *to = buf_reserve(d, piece.n);
    size_t n = 0;
    for (size_t i = 0; i < piece.n; i++) {
        char c = piece.p[i];
        if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/')
            to[n++] = c;
    }
    d->n += n;
    bool last = t->at == t->end;
    size_t whole = d->n / 4 * 4, rest = d->n - whole;
    base64_decode(slice_make(d->data, whole), false, &t->decoded);
    if (last && rest >= 2) { /* the last two or three digits without their padding */
        char padded[4] = {d->data[whole], d->data[whole + 1], rest == 3 ? d->data[whole + 2] : '=', '='};
        base64_decode(slice_make(padded, 4), false, &t->decoded);
    }
    buf_drop(d, last ? d->n : whole);
}

static void decode(struct text_search *t, struct slice piece) {
    enum mime_encoding encoding = t->mime->parts[t->part].encoding;
    if (encoding == MIME_BASE64) {
        decode_base64(t, piece);
    } else {
        struct mime_part part = {.end = piece.n, .encoding = encoding};
        const struct mime alone = {.message = piece, .count = 1, .parts = &part};
        if (mime_decode_body(&alone, 0, &t->decoded) != 0) buf_add_slice(&t->decoded, piece);
    }
}

/* The next encoded bytes of the part: whole lines where lines are short, and no half of "=E4". */
static struct slice take_piece(struct text_search *t) {
    struct slice left = {t->mime->message.p + t->at, t->end - t->at}, piece = slice_head(left, TEXT_STEP);
    if (piece.n < left.n) {
        const char *lf = memrchr(piece.p, '\n', piece.n);
        if (lf)
            piece.n = (size_t)(lf - piece.p) + 1;
        else
            for (size_t back = 1; back <= 2; back++)
                if (piece.p[piece.n - back] == '=') piece.n -= back;
    }
    t->at += piece.n;
    return piece;
}

/* The number of decoded bytes to convert now: up to a line's end, where no character and no shift
 * state is divided. */
static size_t convertible(const struct text_search *t) {
    const struct buf *d = &t->decoded;
    if (t->at == t->end) return d->n;
    if (t->wide || !d->n) return 0;
    const char *lf = memrchr(d->data, '\n', d->n);
    if (lf) return (size_t)(lf - d->data) + 1;
    if (d->n < LINE_MAX_BYTES) return 0;
    size_t n = d->n;
    while (n > d->n - 4 && ((unsigned char)d->data[n - 1] & 0xc0) == 0x80) n--; /* a UTF-8 character's end */
    return n > d->n - 4 && (unsigned char)d->data[n - 1] >= 0xc0 ? n - 1 : d->n;
}

static void look(struct text_search *t) {
    size_t n = convertible(t);
    struct slice text = {t->decoded.data, n};
    if (!n) return;
    buf_reset(&t->utf8);
    if (!charset_to_utf8(t->charset, text, &t->utf8)) buf_add_slice(&t->utf8, text);
    buf_drop(&t->decoded, n);
    text_fold(buf_slice(&t->utf8), &t->folded);
    for (size_t i = 0; i < t->count; i++)
        if (!t->found[i]) t->found[i] = text_has(buf_slice(&t->folded), t->needles[i]);
    if (t->folded.n >= t->longest && t->longest) buf_drop(&t->folded, t->folded.n - (t->longest - 1));
}

static bool all_found(const struct text_search *t) {
    for (size_t i = 0; i < t->count; i++)
        if (!t->found[i]) return false;
    return true;
}

bool text_search_step(struct text_search *t) {
    size_t budget = TEXT_STEP;
    while (budget > TEXT_STEP / 2 && t->part < t->mime->count && !all_found(t)) {
        if (!t->in_part && !(t->in_part = begin_part(t))) {
            t->part++;
            continue;
        }
        struct slice piece = take_piece(t);
        decode(t, piece);
        look(t);
        budget -= piece.n < budget ? piece.n : budget;
        if (t->at < t->end) continue;
        t->in_part = false;
        t->part++;
    }
    return t->part < t->mime->count && !all_found(t);
}
