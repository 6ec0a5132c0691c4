/* The bytes of BODY[section] and BINARY[section] (RFC 9051 §6.4.5.1, RFC 3516). Pure. */
#include "libcommon/mail/header.h"
#include "services/imapd/fetch/fetch.h"

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

bool section_find(const struct mime *m, const struct section *section, struct buf *made, struct slice *bytes) {
    static const enum mime_section kinds[] = {[SECTION_ALL] = MIME_SECTION_BODY,
                                              [SECTION_HEADER] = MIME_SECTION_HEADER,
                                              [SECTION_HEADER_FIELDS] = MIME_SECTION_HEADER,
                                              [SECTION_HEADER_FIELDS_NOT] = MIME_SECTION_HEADER,
                                              [SECTION_TEXT] = MIME_SECTION_TEXT,
                                              [SECTION_MIME] = MIME_SECTION_MIME};
    if (!mime_section(m, section->depth, section->path, kinds[section->text], bytes)) return false;
    if (section->text == SECTION_HEADER_FIELDS || section->text == SECTION_HEADER_FIELDS_NOT) {
        if (bytes->n >= 2 && memcmp(bytes->p + bytes->n - 2, "\r\n", 2) == 0 &&
            (bytes->n == 2 || memcmp(bytes->p + bytes->n - 4, "\r\n", 2) == 0))
            bytes->n -= 2; /* its own empty line */
        section_read_fields(*bytes, section, made);
        *bytes = buf_slice(made);
    }
    return true;
}

int section_find_binary(const struct mime *m, const struct section *section, struct buf *out) {
    uint32_t part = mime_find(m, section->depth, section->path);
    buf_reset(out);
    if (part == MIME_NONE) return -1;
    if (!section->depth) { /* BINARY[] is the whole message */
        buf_add_slice(out, m->message);
        return 0;
    }
    return mime_decode_body(m, part, out) == 0 ? 0 : -2;
}
