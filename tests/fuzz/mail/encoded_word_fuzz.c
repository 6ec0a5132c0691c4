/* Whatever comes in, what goes out is UTF-8 without controls. */
#include <stdlib.h>
#include <utf8proc.h>

#include "libcommon/mail/encoded_word.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf out = {0};
    encoded_word_decode(slice_make(data, size), &out);
    for (size_t i = 0; i < out.n;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t n =
            utf8proc_iterate((const utf8proc_uint8_t *)out.data + i, (utf8proc_ssize_t)(out.n - i), &code);
        if (n <= 0 || code < ' ') abort();
        i += (size_t)n;
    }
    buf_free(&out);
    return 0;
}
