/* Addresses in DNS names and address literals. Pure. */
#ifndef POSTBUS_VERIFIER_ADDRESS_H
#define POSTBUS_VERIFIER_ADDRESS_H

#include "libcommon/base/slice.h"

/* The address in an address literal, "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 §4.1.3), in
 * the form of inet_ntop. 0, or -1 when it is not one. */
int domain_literal_address(struct slice domain, char out[64]);
/* The address of an A (4 bytes) or AAAA (16 bytes) record as text; "" for another length. */
const char *domain_address_text(struct slice bytes, char out[64]);
/* "1.2.0.192.in-addr.arpa" or its ip6.arpa form (RFC 1035 §3.5, RFC 3596 §2.5) for an address in
 * text; IPv4 mapped into IPv6 counts as IPv4. 0 or -1. */
int domain_reverse_name(struct slice address, char out[80]);

#endif
