/* The Sender Rewriting Scheme: a reverse-path at our own domain for mail that an alias hands on, so that the next
 * server's SPF check (RFC 7208 §2.4) asks about us, who really send it; and the way back for reports to that address.
 * Pure: the secret and the time come in.
 *
 *   SRS0=<hash>=<day>=<domain>=<local>@ours     for local@domain
 *   SRS1=<hash>=<first>=<rest>@ours             for SRS0<rest>@first or SRS1…=<first>=<rest>@second: a chain of forwarders stays as long as its first link
 *
 * There is no RFC. The hash is HMAC-SHA-256 over all the rest, our domain too, in lower case (a local part may lose its
 * case on the way back), cut to 30 bits, in base 32: whoever wants us to hand a report to an address of his choice must
 * guess it. The day is counted in base 32 modulo 1024; an SRS0 address is good for SRS_DAYS. An SRS1 address has no day
 * of its own: the first forwarder's is in its rest, and that one looks at it. */
#ifndef POSTBUS_TRUST_SRS_H
#define POSTBUS_TRUST_SRS_H

#include "libcommon/base/buf.h"

enum {
    SRS_KEYS_MAX = 8,
    SRS_KEY_BYTES_MIN = 16,
    SRS_HASH_CHARS = 6,
    SRS_DAYS = 21,         /* longer than any server tries and reports (RFC 5321 §4.5.4.1) */
    SRS_LOCAL_MAX = 64,    /* octets of a local part that every server must take (RFC 5321 §4.5.3.1.1) */
    SRS_ADDRESS_MAX = 254, /* of a path without its brackets (RFC 5321 §4.5.3.1.3) */
};

/* The first key signs, all verify: a new one is put before the old one, which goes SRS_DAYS later. */
struct srs_keys {
    size_t count;
    struct slice keys[SRS_KEYS_MAX];
};
/* Cuts the secret's text, a key a line, of at least SRS_KEY_BYTES_MIN bytes each; the keys point into it. 0, or -1: no
 * key, too many, one too short. */
int srs_keys_read(struct slice text, struct srs_keys *out);

enum srs_result {
    SRS_OK,
    SRS_NONE,     /* forward: the sender is no address; reverse: not of our form */
    SRS_TOO_LONG, /* forward: the address would pass a bound above */
    SRS_FORGED,   /* reverse: the hash is not ours */
    SRS_EXPIRED,  /* reverse: older than SRS_DAYS */
};

/* The reverse-path at `domain` (ours, A-labels) for mail of `sender` (local@domain as MAIL gave it), added to out. now:
 * seconds since 1970. */
enum srs_result srs_forward(const struct srs_keys *keys, struct slice sender, struct slice domain, int64_t now,
                            struct buf *out);

/* Whose address it is: the sender of the mail that was handed on, added to out when the answer is SRS_OK. */
enum srs_result srs_reverse(const struct srs_keys *keys, struct slice address, int64_t now, struct buf *out);

#endif
