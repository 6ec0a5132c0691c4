/* JSON from the bus: what we take jansson takes, as the same value; what we write can be read again and is the same. */
#include <stdlib.h>

#include "libcommon/bus/json_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *value = json_text_read(slice_make(data, size));
    if (!value) return 0;
    json_t *theirs = json_loadb((const char *)data, size, 0, NULL);
    if (!theirs || !json_equal(value, theirs)) abort();
    struct buf text = {0};
    json_text_write(value, &text);
    json_t *again = json_text_read(buf_slice(&text));
    if (!again || !json_equal(value, again)) abort();
    json_decref(again);
    json_decref(theirs);
    json_decref(value);
    buf_free(&text);
    return 0;
}
