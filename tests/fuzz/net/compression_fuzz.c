/* Foreign DEFLATE, in pieces and with rests in between: the result must not depend on them. */
#include <stdlib.h>

#include "libcommon/base/slice.h"
#include "libcommon/net/compression.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_all(const uint8_t *data, size_t size, size_t piece, struct evbuffer *plain) {
    struct compression *c = compression_create();
    struct evbuffer *raw = evbuffer_new();
    int result = 0;
    for (size_t at = 0; at < size && !result; at += piece) {
        evbuffer_add(raw, data + at, size - at < piece ? size - at : piece);
        size_t before;
        do {
            before = evbuffer_get_length(plain);
            result = compression_read(c, raw, plain, before + 1000);
        } while (!result && evbuffer_get_length(plain) != before && before < 1 << 20);
        if (piece < size) compression_rest(c);
    }
    evbuffer_free(raw);
    compression_destroy(c);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct evbuffer *whole = evbuffer_new(), *parts = evbuffer_new();
    int one = read_all(data, size, size + 1, whole), other = read_all(data, size, 3, parts);
    size_t n = evbuffer_get_length(whole);
    if (n < 1 << 20 && one >= 0 && other >= 0 &&
        (n != evbuffer_get_length(parts) ||
         (n && memcmp(evbuffer_pullup(whole, -1), evbuffer_pullup(parts, -1), n) != 0)))
        abort();
    evbuffer_free(whole);
    evbuffer_free(parts);
    return 0;
}
