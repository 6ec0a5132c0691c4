/* A submitted message's header: whoever its authors are, and whatever is dropped from it. */
#include <stdlib.h>

#include "services/smtpd/smtpd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct transaction t = {.arena = arena_create(), .from = SLICE("ann@a.test")};
    struct buf kept = {0};
    buf_reserve(&t.text, MESSAGE_ROOM);
    t.text.n = MESSAGE_ROOM;
    buf_add(&t.text, data, size);
    if (outgoing_authors(&t, message_header(&t)) == NULL && t.authors.count > SMTP_AUTHORS_MAX + 1) abort();
    message_drop_fields(&t, "Bcc");
    message_drop_fields(&t, "From");
    message_kept_header(&t, &kept);
    if (kept.n > message_header(&t).n) abort();
    buf_free(&kept);
    buf_free(&t.text);
    arena_destroy(t.arena);
    return 0;
}
