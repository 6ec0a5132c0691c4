/* The messages of SCRAM from a stranger: the first line is client-first, the rest client-final. */
#include <stdlib.h>

#include "libcommon/service/scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice rest = slice_make((const char *)data, size), first = rest;
    struct scram x = {0};
    struct buf out = {0};
    slice_cut(&rest, '\n', &first);
    if (scram_first(&x, first, false, NULL) == SCRAM_OK) {
        scram_challenge(&x, SLICE("{\"salt\":\"W22ZaJ0SNY7soEsUEjb6gQ==\",\"iterations\":4096}"), &out);
        buf_reset(&x.nonce); /* one that the input can know */
        buf_add_str(&x.nonce, "rN");
        if (scram_final(&x, rest) == SCRAM_OK && x.proof.n != SCRAM_KEY_BYTES) abort();
    }
    buf_reset(&out);
    saslprep(rest, &out);
    scram_end(&x, rest, &out);
    buf_free(&out);
    scram_free(&x);
    return 0;
}
