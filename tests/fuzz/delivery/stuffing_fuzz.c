/* Any message cut anywhere: what goes onto the wire has CRLF only, no line of it is a lone dot, and
 * pieces change nothing. The first two bytes say where it is cut. */
#include <stdint.h>
#include <stdlib.h>

#include "services/delivery/session/stuffing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    struct slice text = slice_make(data + 2, size - 2);
    size_t first = text.n ? (data[0] * 256u + data[1]) % (text.n + 1) : 0;
    struct stuffing one = {0}, two = {0};
    struct buf whole = {0}, pieces = {0};
    stuffing_add(&one, text, &whole);
    stuffing_end(&one, &whole);
    stuffing_add(&two, slice_head(text, first), &pieces);
    stuffing_add(&two, slice_skip(text, first), &pieces);
    stuffing_end(&two, &pieces);
    if (!slice_equal(buf_slice(&whole), buf_slice(&pieces))) abort();
    bool line_start = true;
    for (size_t i = 0; i < whole.n; i++) {
        if (whole.data[i] == '\n' && (!i || whole.data[i - 1] != '\r')) abort();
        if (whole.data[i] == '\r' && (i + 1 == whole.n || whole.data[i + 1] != '\n')) abort();
        if (line_start && whole.data[i] == '.' && (i + 1 == whole.n || whole.data[i + 1] == '\r')) abort();
        line_start = whole.data[i] == '\n';
    }
    buf_free(&whole);
    buf_free(&pieces);
    return 0;
}
