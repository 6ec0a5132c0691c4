/* What a foreign server says. */
#include "services/delivery/delivery.h"
#include "services/delivery/session/reply.h"

struct metric delivery_delivered, delivery_sent, delivery_deferred, delivery_bounced, delivery_in_work;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct smtp_reply reply = {0};
    struct slice rest = slice_make(data, size), line, value;
    struct buf out = {0};
    for (bool more = true; more;) {
        more = slice_cut(&rest, '\n', &line);
        if (!more) line = rest;
        int whole = smtp_reply_add(&reply, line);
        if (whole == 1) {
            smtp_reply_offers(&reply, "SIZE", &value);
            smtp_reply_text(&reply, &out);
        }
        if (whole != 0) smtp_reply_reset(&reply);
    }
    buf_free(&out);
    buf_free(&reply.text);
    return 0;
}
