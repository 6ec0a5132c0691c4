/* What is kept of a foreign message for lists: it has its form, BODY out of BODYSTRUCTURE is what
 * the message itself gives; and the readers of what is kept take any bytes. */
#include <stdint.h>
#include <stdlib.h>

#include "libcommon/mail/structure.h"
#include "libcommon/store/mailbox/mailbox_private.h"

static void check_structure(struct slice message) {
    struct arena *arena = arena_create();
    struct buf whole = {0}, basic = {0}, expected = {0};
    const struct mime *m = mime_parse(arena, message);
    structure_body(m, true, &whole);
    structure_body(m, false, &expected);
    if (!structure_basic(buf_slice(&whole), &basic) || !slice_equal(buf_slice(&basic), buf_slice(&expected))) abort();
    buf_free(&whole);
    buf_free(&basic);
    buf_free(&expected);
    arena_destroy(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice bytes = slice_make(data, size);
    struct buf listing = {0}, out = {0};
    struct mailbox_keys keys;
    struct mailbox_record record;
    mailbox_listing_build(bytes, &listing);
    if (!mailbox_listing_is_valid(buf_slice(&listing)) || listing.n > MAILBOX_LISTING_MAX) abort();
    check_structure(bytes);
    mailbox_listing_is_valid(bytes);
    structure_basic(bytes, &out);
    if (mailbox_keys_read(bytes, &keys) && mailbox_keys_id(&keys, keys.id_count)) abort();
    for (struct slice rest = bytes; mailbox_take_record(&rest, &record);) continue;
    buf_free(&listing);
    buf_free(&out);
    return 0;
}
