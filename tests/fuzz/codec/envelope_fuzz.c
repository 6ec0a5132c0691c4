/* Queue entries: whatever is read can be written and read again, with the same text. */
#include <stdlib.h>

#include "libcommon/codec/envelope.h"

#define ID "01ARZ3NDEKTSV4RRFFQ69G5FAV"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice text = slice_make(data, size), envelope = text, state = {0};
    struct buf once = {0}, twice = {0};
    slice_cut(&text, '\n', &envelope); /* a first line is the envelope, the rest a state of its
                                          first recipient */
    state = text;
    struct envelope *e = envelope_decode(ID, envelope);
    if (e) {
        envelope_encode(e, &once);
        struct envelope *again = envelope_decode(ID, buf_slice(&once));
        if (!again) abort();
        envelope_encode(again, &twice);
        if (!slice_equal(buf_slice(&once), buf_slice(&twice))) abort();
        envelope_destroy(again);
        buf_reset(&once);
        buf_reset(&twice);
        if (envelope_decode_state(e, 0, state) == 0) {
            envelope_encode_state(&e->rcpts[0], &once);
            if (envelope_decode_state(e, 0, buf_slice(&once)) != 0) abort();
            envelope_encode_state(&e->rcpts[0], &twice);
            if (!slice_equal(buf_slice(&once), buf_slice(&twice))) abort();
        }
        for (size_t i = 0; i < e->rcpt_count; i++) {
            envelope_from(e, i);
            envelope_domain(e->rcpts[i].address);
        }
    }
    envelope_destroy(e);
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
