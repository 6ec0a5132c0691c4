#include "libcommon/trust/transport/policy_record.h"

enum { NAME_MAX_BYTES = 32 };

static struct slice skip_white(struct slice s) {
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) s = slice_skip(s, 1);
    return s;
}

static bool is_alphanumeric(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".") */
static bool is_name(struct slice s) {
    if (!s.n || s.n > NAME_MAX_BYTES || !is_alphanumeric(s.p[0])) return false;
    for (size_t i = 1; i < s.n; i++)
        if (!is_alphanumeric(s.p[i]) && !strchr("_-.", s.p[i])) return false;
    return true;
}

/* 1*(%x21-3A / %x3C / %x3E-7E): printable, without "=" and ";". A URI may contain "=", so it is
 * allowed together with spaces. */
static bool is_value(struct slice s, bool spaces) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c >= 0x7f || (!spaces && (c == ' ' || c == '='))) return false;
    }
    return s.n > 0;
}

bool policy_record_is(struct slice txt, struct slice version, struct slice *rest) {
    if (!slice_starts(txt, version)) return false;
    *rest = skip_white(slice_skip(txt, version.n));
    return rest->n && rest->p[0] == ';';
}

int policy_record_next(struct slice *rest, bool spaces, struct policy_field *field) {
    struct slice part;
    *rest = skip_white(*rest);
    if (!rest->n) return 0;
    if (rest->p[0] != ';') return -1;
    *rest = skip_white(slice_skip(*rest, 1));
    if (!rest->n) return 0; /* a delimiter may end the record */
    ptrdiff_t end = slice_find(*rest, ';');
    part = end < 0 ? *rest : slice_head(*rest, (size_t)end);
    *rest = slice_skip(*rest, part.n);
    if (!slice_cut(&part, '=', &field->name)) return -1;
    field->value = part;
    while (field->value.n && (field->value.p[field->value.n - 1] == ' ' || field->value.p[field->value.n - 1] == '\t'))
        field->value.n--;
    return is_name(field->name) && is_value(field->value, spaces) ? 1 : -1;
}
