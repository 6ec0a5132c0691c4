/* The first byte chooses what the rest is read as. */
#include <stdlib.h>

#include "services/cli/mailbox/maildir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_make(data + 1, size ? size - 1 : 0), keywords[MAILDIR_KEYWORDS_MAX];
    struct maildir_name name;
    struct buf out = {0}, again = {0};
    size_t at = 0;
    if (!size) return 0;
    switch (data[0] % 5) {
    case 0:
        if (maildir_name_read(input, &name)) maildir_name_write(name.unique, 1, name.flags, name.keywords, &out);
        break;
    case 1:
        if (maildir_folder_read(input, &out) && maildir_folder_write(buf_slice(&out), &again)) {
            struct buf third = {0};
            if (out.n && out.data[0] != '/' && !memmem(out.data, out.n, "//", 2) && out.data[out.n - 1] != '/' &&
                !maildir_folder_read(buf_slice(&again), &third))
                abort();
            buf_free(&third);
        }
        break;
    case 2: maildir_keywords_read(input, keywords); break;
    case 3:
        while (maildir_subscription_next(input, '.', &at, &out)) buf_reset(&out);
        break;
    default: maildir_message_read(input, &out);
    }
    buf_free(&out);
    buf_free(&again);
    return 0;
}
