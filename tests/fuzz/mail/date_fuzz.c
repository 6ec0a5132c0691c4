#include <stdlib.h>

#include "libcommon/mail/date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct date d;
    if (date_parse(slice_make(data, size), &d) == 0 &&
        (d.year < 1900 || d.year > 9999 || d.month < 1 || d.month > 12 || d.day < 1 || d.day > 31))
        abort();
    return 0;
}
