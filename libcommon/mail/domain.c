#include "libcommon/mail/domain.h"

#include <idn2.h>
#include <stdio.h>
#include <stdlib.h>
#include <utf8proc.h>

enum { LABEL_MAX = 63, NAME_MAX_BYTES = 253, INPUT_MAX = 1000 };

static bool labels_are_good(struct slice name) {
    struct slice rest = name, label;
    if (!name.n || name.n > NAME_MAX_BYTES) return false;
    for (bool more = true; more;) {
        more = slice_cut(&rest, '.', &label);
        if (!more) label = rest;
        if (!label.n || label.n > LABEL_MAX || label.p[0] == '-' || label.p[label.n - 1] == '-') return false;
        for (size_t i = 0; i < label.n; i++) {
            char c = label.p[i];
            if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')) return false;
        }
    }
    return true;
}

int domain_normalise(struct slice domain, char out[DOMAIN_BYTES]) {
    char input[INPUT_MAX + 1]; /* U-labels may need more bytes than their A-labels */
    bool ascii = true;
    if (domain.n && domain.p[domain.n - 1] == '.') domain.n--;
    if (!domain.n || domain.n > INPUT_MAX) return -1;
    for (size_t i = 0; i < domain.n; i++) {
        char c = domain.p[i];
        if (!c) return -1;
        if ((unsigned char)c >= 0x80) ascii = false;
        input[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    input[domain.n] = 0;
    char *a_labels = NULL;
    if (!ascii && idn2_to_ascii_8z(input, &a_labels, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK) return -1;
    struct slice name = slice_of(ascii ? input : a_labels);
    bool good = labels_are_good(name);
    if (good) memcpy(out, name.p, name.n + 1);
    idn2_free(a_labels);
    return good ? 0 : -1;
}

void domain_display(const char *domain, char *out, size_t n) {
    char *unicode = NULL;
    if (idn2_to_unicode_8z8z(domain, &unicode, 0) == IDN2_OK && unicode)
        snprintf(out, n, "%s", unicode);
    else
        snprintf(out, n, "%s", domain);
    idn2_free(unicode);
}

/* The local part without its quotes (RFC 5321 §4.1.2): 0 or -1. */
static int unquote(struct slice local, char out[LOCAL_BYTES]) {
    size_t n = 0;
    bool quoted = local.n >= 2 && local.p[0] == '"' && local.p[local.n - 1] == '"';
    if (quoted) local = slice_make(local.p + 1, local.n - 2);
    for (size_t i = 0; i < local.n; i++) {
        char c = local.p[i];
        if (quoted && c == '\\') {
            if (++i == local.n) return -1;
            c = local.p[i];
        } else if (c == '"') {
            return -1;
        }
        if ((unsigned char)c < 0x20 || c == 0x7f || n + 1 >= LOCAL_BYTES) return -1;
        out[n++] = c;
    }
    out[n] = 0;
    return n ? 0 : -1;
}

int address_normalise(struct slice address, struct mail_address *out) {
    ptrdiff_t at = slice_find_last(address, '@');
    if (at <= 0 || unquote(slice_head(address, (size_t)at), out->local) != 0) return -1;
    if (domain_normalise(slice_skip(address, (size_t)at + 1), out->domain) != 0) return -1;
    bool ascii = true;
    for (char *c = out->local; *c; c++) {
        if ((unsigned char)*c >= 0x80) ascii = false;
        if (*c >= 'A' && *c <= 'Z') *c = (char)(*c | 0x20);
    }
    if (ascii) return 0;
    utf8proc_uint8_t *composed = utf8proc_NFC((const utf8proc_uint8_t *)out->local);
    if (!composed) return -1; /* not UTF-8 */
    size_t n = strlen((const char *)composed);
    if (n < LOCAL_BYTES) memcpy(out->local, composed, n + 1);
    free(composed);
    return n < LOCAL_BYTES ? 0 : -1;
}

const char *address_text(const struct mail_address *a, char out[ADDRESS_BYTES_MAX]) {
    snprintf(out, ADDRESS_BYTES_MAX, "%s@%s", a->local, a->domain);
    return out;
}
