/* Macros of SPF. Input: a byte of choices, then, each up to a line feed, the local part, the HELO
 * name and the macro-string. What the grammar takes expands, and into a name that fits DNS or a
 * text; what it does not take never does. */
#include <stdlib.h>

#include "libcommon/trust/spf/spf.h"

static struct slice next_line(struct slice *rest) {
    struct slice line;
    if (!slice_cut(rest, '\n', &line)) line = *rest, *rest = slice_skip(*rest, rest->n);
    return line;
}

static void expand(struct arena *arena, struct slice spec, const struct spf_macros *m, bool text) {
    struct slice out;
    enum spf_expansion e = spf_expand(arena, spec, m, text, &out);
    if ((e != SPF_MALFORMED) != spf_is_macro_string(spec, text)) abort();
    if (e != SPF_EXPANDED && out.n) abort();
    if (text || e != SPF_EXPANDED) return;
    if (out.n > 253 && slice_find(out, '.') >= 0) abort(); /* §7.3 */
    for (size_t i = 0; i < out.n; i++)
        if ((unsigned char)out.p[i] >= 0x80) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const unsigned char ip[16] = {0x20, 0x01, 0x0d, 0xb8};
    if (!size) return 0;
    struct arena *arena = arena_create();
    struct slice rest = slice_make(data + 1, size - 1);
    struct spf_macros m = {.origin = SLICE("origin.test"),
                           .domain = SLICE("very.deep.domain.test"),
                           .ip = ip,
                           .v6 = data[0] & 1,
                           .now = -1};
    m.local = next_line(&rest);
    m.helo = next_line(&rest);
    m.validated = data[0] & 2 ? m.helo : SLICE("");
    expand(arena, rest, &m, false);
    expand(arena, rest, &m, true);
    if (spf_is_domain_spec(rest) && !spf_is_macro_string(rest, false)) abort();
    if (spf_has_p_macro(rest) && memchr(rest.p, '%', rest.n) == NULL) abort();
    arena_destroy(arena);
    return 0;
}
