/* A message's text in two cuts must come out as in one, and end at the same byte. */
#include <stdlib.h>

#include "services/smtpd/smtpd.h"

struct metric smtpd_connections, smtpd_accepted, smtpd_delivered, smtpd_refused, smtpd_deferred, smtpd_bytes;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    size_t cut = data[0] % size;
    struct slice all = slice_make(data, size), first = slice_head(all, cut), second = slice_skip(all, cut);
    struct smtp_text whole = {0}, parts = {0};
    struct buf a = {0}, b = {0};
    size_t taken = smtp_take_text(&whole, all, &a), in_parts = smtp_take_text(&parts, first, &b);
    if (in_parts == cut) in_parts += smtp_take_text(&parts, second, &b);
    if (taken != in_parts || whole.ended != parts.ended || whole.bare != parts.bare || whole.nul != parts.nul ||
        !slice_equal(buf_slice(&a), buf_slice(&b)))
        abort();
    buf_free(&a);
    buf_free(&b);
    return 0;
}
