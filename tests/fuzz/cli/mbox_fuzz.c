/* Reads an mbox file; then the input itself, as a message, must be the same after packing and unpacking. */
#include <stdlib.h>

#include "services/cli/mailbox/mbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_make(data, size);
    struct buf message = {0}, keywords = {0}, file = {0};
    struct mbox_message m;
    uint32_t flags;
    for (size_t at = 0; mbox_next(input, &at, &m);) {
        buf_reset(&message);
        mbox_unpack(&m, &message, &flags, &keywords);
    }
    buf_reset(&message);
    buf_reset(&keywords);
    size_t at = 0;
    if (!size) goto end;
    mbox_pack(input, SLICE("a@x.test"), 1764000000, MAILDIR_SEEN | MAILDIR_DRAFT, SLICE("work"), &file);
    mbox_pack(SLICE("Subject: next\r\n\r\n"), SLICE(""), 1, 0, SLICE(""), &file);
    if (!mbox_next(buf_slice(&file), &at, &m)) abort();
    mbox_unpack(&m, &message, &flags, &keywords);
    if (!slice_equal(buf_slice(&message), input) || flags != (MAILDIR_SEEN | MAILDIR_DRAFT) || m.date != 1764000000 ||
        !slice_is(buf_slice(&keywords), "work"))
        abort();
    if (!mbox_next(buf_slice(&file), &at, &m) || m.date != 1 || mbox_next(buf_slice(&file), &at, &m)) abort();
end:
    buf_free(&message);
    buf_free(&keywords);
    buf_free(&file);
    return 0;
}
