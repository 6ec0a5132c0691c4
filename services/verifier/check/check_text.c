/* Records as text, so that wanted and found records can be compared and shown. */
#include <stdlib.h>

#include "libcommon/base/buf.h"
#include "services/verifier/check/check_judge.h"
#include "services/verifier/dns/address.h"

enum { NAME_TEXT_MAX = 1024, SRV_FIXED = 6, TLSA_FIXED = 3, DS_FIXED = 4, CAA_FIXED = 2 };

static unsigned read16(struct slice s, size_t at) {
    return (unsigned)(unsigned char)s.p[at] << 8 | (unsigned char)s.p[at + 1];
}

/* Makes text from DNS printable, so that it cannot control a terminal or a log. */
static const char *printable(struct arena *arena, struct slice text) {
    char *copy = arena_copy(arena, text);
    for (size_t i = 0; i < text.n; i++)
        if (copy[i] < ' ' || copy[i] >= 0x7f) copy[i] = '?';
    return copy;
}

/* An uncompressed name in lower case with its final dot; "?" when it is not a name. */
static const char *wire_name(struct arena *arena, struct slice wire) {
    char text[NAME_TEXT_MAX];
    size_t n = 0;
    while (wire.n && *wire.p) {
        size_t label = (unsigned char)*wire.p;
        if (label > 63 || label >= wire.n || n + label + 2 > sizeof text) return "?";
        for (size_t i = 1; i <= label; i++) {
            char c = wire.p[i];
            text[n++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c > ' ' && c < 0x7f && c != '.' ? c : '?');
        }
        text[n++] = '.';
        wire = slice_skip(wire, label + 1);
    }
    if (n == 0) text[n++] = '.';
    return arena_copy(arena, slice_make(text, n));
}

static const char *hex(struct arena *arena, struct slice bytes) {
    char *text = arena_alloc(arena, bytes.n * 2 + 1);
    for (size_t i = 0; i < bytes.n; i++) {
        text[i * 2] = "0123456789abcdef"[(unsigned char)bytes.p[i] >> 4];
        text[i * 2 + 1] = "0123456789abcdef"[(unsigned char)bytes.p[i] & 15];
    }
    return text;
}

const char *check_text_of(struct arena *arena, int type, const struct answer_record *record) {
    struct slice d = record->data;
    const unsigned char *b = (const unsigned char *)d.p;
    char address[64];
    switch (type) {
    case TYPE_A:
    case TYPE_AAAA: return arena_copy(arena, slice_of(domain_address_text(d, address)));
    case TYPE_MX: return arena_printf(arena, "%u %s.", record->preference, printable(arena, d));
    case TYPE_CNAME:
    case TYPE_NS:
    case TYPE_PTR: return arena_printf(arena, "%s.", printable(arena, d));
    case TYPE_SRV: /* RFC 2782 */
        if (d.n <= SRV_FIXED) return "?";
        return arena_printf(arena, "%u %u %u %s", read16(d, 0), read16(d, 2), read16(d, 4),
                            wire_name(arena, slice_skip(d, SRV_FIXED)));
    case TYPE_TLSA: /* RFC 6698 §2.1 */
        if (d.n <= TLSA_FIXED) return "?";
        return arena_printf(arena, "%u %u %u %s", b[0], b[1], b[2], hex(arena, slice_skip(d, TLSA_FIXED)));
    case TYPE_DS: /* RFC 4034 §5.1 */
        if (d.n <= DS_FIXED) return "?";
        return arena_printf(arena, "%u %u %u %s", read16(d, 0), b[2], b[3], hex(arena, slice_skip(d, DS_FIXED)));
    case TYPE_CAA: { /* RFC 8659 §4.1 */
        if (d.n < CAA_FIXED || d.n < CAA_FIXED + (size_t)b[1]) return "?";
        struct slice tag = slice_make(d.p + CAA_FIXED, b[1]), value = slice_skip(d, CAA_FIXED + tag.n);
        return arena_printf(arena, "%u %s \"%s\"", b[0], printable(arena, tag), printable(arena, value));
    }
    default: return printable(arena, d);
    }
}

/* Quoted strings put together (RFC 1035 §5.1). */
static const char *unquote(struct arena *arena, const char *value) {
    char *text = arena_alloc(arena, strlen(value) + 1);
    size_t n = 0;
    bool inside = false;
    for (const char *c = value; *c; c++) {
        if (*c == '"')
            inside = !inside;
        else if (*c == '\\' && c[1])
            text[n++] = *++c;
        else if (inside)
            text[n++] = *c;
    }
    text[n] = '\0';
    return text;
}

const char *check_text_wanted(struct arena *arena, const struct dns_record *record) {
    if (strcmp(record->type, "TXT") == 0) return unquote(arena, record->value);
    char *text = arena_copy(arena, slice_of(record->value));
    if (strcmp(record->type, "CAA") != 0)
        for (char *c = text; *c; c++)
            if (*c >= 'A' && *c <= 'Z') *c = (char)(*c + 32);
    return text;
}

int check_type(const char *type) {
    static const struct {
        const char *text;
        int number;
    } types[] = {{"A", TYPE_A},         {"AAAA", TYPE_AAAA}, {"MX", TYPE_MX},     {"TXT", TYPE_TXT},
                 {"CNAME", TYPE_CNAME}, {"SRV", TYPE_SRV},   {"TLSA", TYPE_TLSA}, {"CAA", TYPE_CAA}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].text, type) == 0) return types[i].number;
    return 0;
}
