/* The domain part of an address as DNS wants it. Pure. */
#ifndef POSTBUS_VERIFIER_DOMAIN_H
#define POSTBUS_VERIFIER_DOMAIN_H

#include "libcommon/base/slice.h"

enum { DOMAIN_MAX = 254 };

/* domain (UTF-8 or A-labels, with or without final dot) in lower-case A-labels without final dot (IDNA 2008, RFC 5891;
 * letters, digits, hyphens and underscores only). 0, or -1 when it is no domain name. */
int domain_to_ascii(struct slice domain, char out[DOMAIN_MAX]);
/* The address in an address literal, "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 §4.1.3), as inet_ntop writes it.
 * 0, or -1 when it is none. */
int domain_literal_address(struct slice domain, char out[64]);
/* The address that an A (4 bytes) or AAAA (16 bytes) record holds, in text; "" for another length. */
const char *domain_address_text(struct slice bytes, char out[64]);
/* "1.2.0.192.in-addr.arpa" or its ip6.arpa form (RFC 1035 §3.5, RFC 3596 §2.5) for an address in text; IPv4 mapped into
 * IPv6 counts as IPv4. 0 or -1. */
int domain_reverse_name(struct slice address, char out[80]);

#endif
