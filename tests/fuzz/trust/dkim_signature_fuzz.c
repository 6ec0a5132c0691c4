/* The value of a signature field, as each of the three kinds: what is taken must be usable as it
 * is. */
#include <stdlib.h>

#include "libcommon/trust/dkim/dkim.h"
#include "libcommon/trust/dkim/dkim_header.h"

static void check(struct arena *arena, struct slice value, enum dkim_flavour flavour) {
    struct dkim_signature s;
    const char *reason;
    if (dkim_signature_parse(arena, value, flavour, &s)) return;
    if (!s.d.n || s.d.n > 253 || !s.s.n || s.s.n > 253) abort();
    for (size_t i = 0; i < s.d.n; i++)
        if ((s.d.p[i] >= 'A' && s.d.p[i] <= 'Z') || (unsigned char)s.d.p[i] >= 0x80)
            abort(); /* A-labels in lower case */
    if (s.body.length < -1 || s.signed_at < -1 || s.expires < -1) abort();
    if (flavour == DKIM_SIGNATURE && (!dkim_list_has(s.h, "from") || s.identity.n < s.d.n)) abort();
    if (flavour != DKIM_SIGNATURE && (s.instance < 1 || s.instance > 50)) abort();
    dkim_signature_in_time(&s, 1795513277, &reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice value = slice_make(data, size);
    struct arena *arena = arena_create();
    struct buf field = {0}, once = {0}, twice = {0};
    if (size > 20000) {
        arena_destroy(arena);
        return 0;
    }
    check(arena, value, DKIM_SIGNATURE);
    check(arena, value, DKIM_ARC_MESSAGE);
    check(arena, value, DKIM_ARC_SEAL);
    /* taking b= out twice is taking it out once */
    buf_add_str(&field, "DKIM-Signature:");
    buf_add_slice(&field, value);
    dkim_field_without_b(buf_slice(&field), false, &once);
    dkim_field_without_b(buf_slice(&once), false, &twice);
    if (!slice_equal(buf_slice(&once), buf_slice(&twice)) &&
        !(once.n >= 2 && memcmp(once.data + once.n - 2, "\r\n", 2) == 0))
        abort();
    buf_free(&field);
    buf_free(&once);
    buf_free(&twice);
    arena_destroy(arena);
    return 0;
}
