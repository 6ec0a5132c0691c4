/* The bytes of BODY[section] and BINARY[section] (RFC 9051 §6.4.5.1, RFC 3516). Pure. */
#include "libcommon/mail/header.h"
#include "libcommon/mail/mime.h"
#include "services/imapd/fetch.h"

static bool is_named(const struct section *section, struct slice name) {
    for (size_t i = 0; i < section->name_count; i++)
        if (slice_equal_nocase(section->names[i], name)) return true;
    return false;
}

void section_read_fields(struct slice header, const struct section *section, struct buf *out) {
    struct header_field field;
    size_t at = 0;
    bool wanted = section->text == SECTION_HEADER_FIELDS;
    buf_reset(out);
    while (header_next(header, &at, &field) == 1)
        if (is_named(section, field.name) == wanted) buf_add_slice(out, field.raw);
    buf_add_str(out, "\r\n"); /* the empty line is always included */
}

bool section_read(struct slice message, const struct section *section, struct buf *out) {
    struct arena *arena = arena_create();
    struct mime *m = mime_parse(arena, message);
    static const enum mime_section kinds[] = {[SECTION_ALL] = MIME_SECTION_BODY,
                                              [SECTION_HEADER] = MIME_SECTION_HEADER,
                                              [SECTION_HEADER_FIELDS] = MIME_SECTION_HEADER,
                                              [SECTION_HEADER_FIELDS_NOT] = MIME_SECTION_HEADER,
                                              [SECTION_TEXT] = MIME_SECTION_TEXT,
                                              [SECTION_MIME] = MIME_SECTION_MIME};
    struct slice bytes;
    bool found = mime_section(m, section->depth, section->path, kinds[section->text], &bytes);
    buf_reset(out);
    if (found && (section->text == SECTION_HEADER_FIELDS || section->text == SECTION_HEADER_FIELDS_NOT)) {
        if (bytes.n >= 2 && memcmp(bytes.p + bytes.n - 2, "\r\n", 2) == 0 &&
            (bytes.n == 2 || memcmp(bytes.p + bytes.n - 4, "\r\n", 2) == 0))
            bytes.n -= 2; /* its own empty line */
        section_read_fields(bytes, section, out);
    } else if (found) {
        buf_add_slice(out, bytes);
    }
    arena_destroy(arena);
    return found;
}

int section_read_binary(struct slice message, const struct section *section, struct buf *out) {
    struct arena *arena = arena_create();
    struct mime *m = mime_parse(arena, message);
    uint32_t part = mime_find(m, section->depth, section->path);
    int result = -1;
    buf_reset(out);
    if (part != MIME_NONE && !section->depth) { /* BINARY[] is the whole message */
        buf_add_slice(out, message);
        result = 0;
    } else if (part != MIME_NONE) {
        result = mime_decode_body(m, part, out) == 0 ? 0 : -2;
    }
    arena_destroy(arena);
    return result;
}
