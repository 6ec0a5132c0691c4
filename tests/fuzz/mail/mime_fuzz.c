/* Any bytes are a message: its parts lie inside each other, its structure can be told, its bodies
 * decoded. */
#include <stdlib.h>

#include "libcommon/mail/header.h"
#include "libcommon/mail/structure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena *arena = arena_create();
    struct buf out = {0};
    struct slice message = slice_make(data, size);
    const struct mime *m = mime_parse(arena, message);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct mime_part *p = &m->parts[i];
        if (p->start > p->body || p->body > p->end || p->end > size) abort();
        if (p->parent != MIME_NONE && (p->start < m->parts[p->parent].body || p->end > m->parts[p->parent].end))
            abort();
        buf_reset(&out);
        if (i < 100) mime_decode_body(m, i, &out);
    }
    buf_reset(&out);
    structure_body(m, false, &out);
    structure_body(m, true, &out);
    size_t body;
    structure_envelope(header_block(message, &body), &out);
    uint32_t numbers[] = {1, 2, 1};
    struct slice section;
    for (size_t n = 0; n <= 3; n++)
        for (int s = MIME_SECTION_BODY; s <= MIME_SECTION_TEXT; s++)
            if (mime_section(m, n, numbers, (enum mime_section)s, &section) &&
                (section.p < message.p || section.p + section.n > message.p + size))
                abort();
    buf_free(&out);
    arena_destroy(arena);
    return 0;
}
