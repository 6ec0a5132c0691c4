#include "libcommon/mail/text_fold.h"

#include <utf8proc.h>

enum { DECOMPOSED_MAX = 64 };

static void add_code(struct buf *out, utf8proc_int32_t code) {
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char(code, bytes);
    if (n > 0) buf_add(out, bytes, (size_t)n);
}

static size_t fold_character(struct slice s, struct buf *out) {
    const utf8proc_option_t how = UTF8PROC_CASEFOLD | UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE;
    utf8proc_int32_t code, parts[DECOMPOSED_MAX];
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)s.n, &code);
    if (n <= 0) {
        add_code(out, 0xfffd);
        return 1;
    }
    utf8proc_ssize_t count = utf8proc_decompose_char(code, parts, DECOMPOSED_MAX, how, &boundary);
    if (count < 0 || count > DECOMPOSED_MAX)
        add_code(out, code);
    else
        for (utf8proc_ssize_t i = 0; i < count; i++) add_code(out, parts[i]);
    return (size_t)n;
}

void text_fold(struct slice utf8, struct buf *out) {
    for (size_t i = 0; i < utf8.n;) {
        size_t end = i;
        while (end < utf8.n && (unsigned char)utf8.p[end] < 0x80) end++;
        char *to = buf_reserve(out, end - i);
        for (size_t k = i; k < end; k++)
            *to++ = utf8.p[k] >= 'A' && utf8.p[k] <= 'Z' ? (char)(utf8.p[k] | 0x20) : utf8.p[k];
        out->n += end - i;
        i = end;
        if (i < utf8.n) i += fold_character(slice_skip(utf8, i), out);
    }
    if (out->data) out->data[out->n] = 0;
}

bool text_has(struct slice folded, struct slice needle) {
    return !needle.n || (folded.n >= needle.n && memmem(folded.p, folded.n, needle.p, needle.n));
}
