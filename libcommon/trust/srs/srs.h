/* The Sender Rewriting Scheme: a reverse-path at our own domain for mail that an alias forwards, so
 * that the SPF check of the next server (RFC 7208 §2.4) is for our domain, because we send it; and
 * the reverse for reports to that address. Pure: the secret and the time are arguments.
 *
 *   SRS0=<hash>=<day>=<domain>=<local>@ours     for local@domain
 *   SRS1=<hash>=<first>=<rest>@ours             for SRS0<rest>@first, or
 *                                               SRS1…=<first>=<rest>@second: the address does not
 *                                               grow along a chain of forwarders
 *
 * There is no RFC. The hash is HMAC-SHA-256 over the rest of the address, including our domain, in
 * lower case (the case of a local part may be lost on the way back), truncated to 30 bits, in base
 * 32. A sender who wants us to forward a report to an address of his choice must guess it. The day
 * is a number in base 32, modulo 1024; an SRS0 address is valid for SRS_DAYS. An SRS1 address has
 * no day of its own: its rest contains the first forwarder's, and the first forwarder checks it. */
#ifndef POSTBUS_TRUST_SRS_H
#define POSTBUS_TRUST_SRS_H

#include "libcommon/base/buf.h"

enum {
    SRS_KEYS_MAX = 8,
    SRS_KEY_BYTES_MIN = 16,
    SRS_HASH_CHARS = 6,
    SRS_DAYS = 21,         /* longer than servers retry before they send a report (RFC 5321
                              §4.5.4.1) */
    SRS_LOCAL_MAX = 64,    /* octets of a local part that every server must accept (RFC 5321
                              §4.5.3.1.1) */
    SRS_ADDRESS_MAX = 254, /* length of a path without its brackets (RFC 5321 §4.5.3.1.3) */
};

/* The first key signs, all verify: a new one is put before the old one, which is removed SRS_DAYS
 * later. */
struct srs_keys {
    size_t count;
    struct slice keys[SRS_KEYS_MAX];
};
/* Splits the secret's text into keys, one on each line, of at least SRS_KEY_BYTES_MIN bytes each;
 * the keys point into text. 0, or -1: no key, too many, or one is too short. */
int srs_keys_read(struct slice text, struct srs_keys *out);

enum srs_result {
    SRS_OK,
    SRS_NONE,     /* forward: the sender is not an address; reverse: not an SRS address */
    SRS_TOO_LONG, /* forward: the address would exceed a bound above */
    SRS_FORGED,   /* reverse: the hash is not ours */
    SRS_EXPIRED,  /* reverse: older than SRS_DAYS */
};

/* The reverse-path at `domain` (ours, A-labels) for mail of `sender` (local@domain as MAIL gave
 * it), added to out. now: seconds since 1970. */
enum srs_result srs_forward(const struct srs_keys *keys, struct slice sender, struct slice domain, int64_t now,
                            struct buf *out);

/* Restores the sender of the forwarded mail, and adds it to out when the result is SRS_OK. */
enum srs_result srs_reverse(const struct srs_keys *keys, struct slice address, int64_t now, struct buf *out);

#endif
