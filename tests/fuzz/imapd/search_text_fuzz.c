/* A search in a foreign message's texts: its parts, transfer encodings and charsets, in pieces;
 * what is found must not depend on where a needle is looked for first. */
#include <stdlib.h>

#include "services/imapd/search/search_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf folded = {0}, needle = {0};
    const size_t part = size / 4;
    bool found[3] = {false, false, false};
    text_fold(slice_make(data, size), &folded);
    text_fold(slice_make(data, part), &needle);
    if (!text_has(buf_slice(&folded), buf_slice(&needle)) && !(size && data[part] >= 0x80)) abort();
    const struct slice needles[] = {buf_slice(&needle), SLICE(""), SLICE("a needle that is not there \xff")};
    struct text_search *t = text_search_create(slice_make(data, size), 3, needles, found);
    while (text_search_step(t)) continue;
    text_search_destroy(t);
    if (!found[1] || found[2]) abort();
    buf_free(&folded);
    buf_free(&needle);
    return 0;
}
