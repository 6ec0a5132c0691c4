#include "libcommon/base/base64.h"

#include <sodium.h>

void base64_encode(struct slice bytes, struct buf *out) {
    size_t room = sodium_base64_encoded_len(bytes.n, sodium_base64_VARIANT_ORIGINAL);
    char *at = buf_reserve(out, room);
    sodium_bin2base64(at, room, (const unsigned char *)bytes.p, bytes.n, sodium_base64_VARIANT_ORIGINAL);
    out->n += room - 1;
}

int base64_decode(struct slice text, bool loose, struct buf *out) {
    size_t room = text.n / 4 * 3 + 4, n = 0;
    unsigned char *at = (unsigned char *)buf_reserve(out, room);
    const char *end = NULL;
    if (sodium_base642bin(at, room, text.p, text.n, loose ? " \t\r\n" : NULL, &n, &end,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        end != text.p + text.n) {
        out->data[out->n] = 0;
        return -1;
    }
    out->n += n;
    out->data[out->n] = 0;
    return 0;
}
