/* Domain names and mail addresses in the normal form in which they are compared and stored: domains
 * as lower-case A-labels (IDNA 2008, RFC 5890), local parts in Unicode NFC with ASCII letters in
 * lower case (RFC 6532 §3.1; local parts of this system do not differ in case). */
#ifndef POSTBUS_MAIL_DOMAIN_H
#define POSTBUS_MAIL_DOMAIN_H

#include "libcommon/base/slice.h"

enum { DOMAIN_BYTES = 256, LOCAL_BYTES = 260, ADDRESS_BYTES_MAX = 520 };

/* "Bücher.example." → "xn--bcher-kva.example". 0, or -1: not a domain name (empty or overlong
 * label, bytes that are not allowed in host names, over 253 bytes). A name of one label is accepted
 * (RFC 5321 §2.3.5 leaves that to the caller). */
int domain_normalise(struct slice domain, char out[DOMAIN_BYTES]);
/* For people: A-labels as Unicode where they are valid. out gets at most n bytes with its NUL. */
void domain_display(const char *domain, char *out, size_t n);

struct mail_address {
    char local[LOCAL_BYTES]; /* unquoted */
    char domain[DOMAIN_BYTES];
};
/* "\"a b\"@X.example" → local `a b`, domain `x.example`. 0, or -1: not an address (no local part, a
 * local part over 255 octets [RFC 5321 §4.5.3.1.1 requires that 64 are accepted], not UTF-8,
 * control characters, no domain). */
int address_normalise(struct slice address, struct mail_address *out);
/* local@domain in out. */
const char *address_text(const struct mail_address *a, char out[ADDRESS_BYTES_MAX]);

#endif
