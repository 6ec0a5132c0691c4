/* The first byte chooses how many body lines TOP gives; the rest is a command line, and a message
 * to stuff. */
#include <stdlib.h>

#include "services/pop3d/pop3d.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct pop3_command c;
    struct buf out = {0};
    if (size == 0) return 0;
    struct slice text = slice_make(data + 1, size - 1);
    pop3_parse(text, &c);
    if (c.count > 3 || (c.verb != POP3_UNKNOWN && c.text.n > text.n)) abort();
    pop3_stuff(text, data[0] == 255 ? SIZE_MAX : data[0], &out);
    /* The answer's end is at its end and nowhere before. */
    if (out.n < 3 || memcmp(out.data + out.n - 3, ".\r\n", 3) != 0) abort();
    if (out.n > 3 && (memcmp(out.data, ".\r\n", 3) == 0 || memmem(out.data, out.n - 1, "\r\n.\r\n", 5))) abort();
    buf_free(&out);
    return 0;
}
