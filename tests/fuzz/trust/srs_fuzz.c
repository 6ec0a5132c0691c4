/* Senders and recipients that are whatever they are: nothing but what we made is taken for ours,
 * and what we made always finds its way back. */
#include <stdlib.h>

#include "libcommon/trust/srs/srs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice text = slice_make(data, size);
    struct srs_keys keys, others;
    struct buf there = {0}, back = {0};
    if (srs_keys_read(SLICE("the key of the fuzz target"), &keys) != 0) abort();
    if (srs_reverse(&keys, text, 1795521600, &back) != SRS_OK && back.n) abort();
    buf_reset(&back);
    if (srs_forward(&keys, text, SLICE("ours.test"), 1795521600, &there) == SRS_OK) {
        if (there.n > SRS_ADDRESS_MAX || slice_find_last(buf_slice(&there), '@') > SRS_LOCAL_MAX) abort();
        if (srs_reverse(&keys, buf_slice(&there), 1795521600, &back) != SRS_OK || !back.n) abort();
    } else if (there.n) {
        abort();
    }
    srs_keys_read(text, &others);
    buf_free(&there);
    buf_free(&back);
    return 0;
}
