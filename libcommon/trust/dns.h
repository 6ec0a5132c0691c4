/* DNS for the verification functions (SPF, DKIM, DMARC, ARC, iprev). Such a function is pure over
 * DNS answers: it looks up names here. When an answer is not known yet, the function requests all
 * other names that it can already determine, and returns TRUST_PENDING. The caller then fetches all
 * requested names at once and runs the function again from the start. So the same function serves
 * an asynchronous service and a blocking command line. */
#ifndef POSTBUS_TRUST_DNS_H
#define POSTBUS_TRUST_DNS_H

#include "libcommon/base/arena.h"

enum { TRUST_DONE = 0, TRUST_PENDING = 1 };

enum trust_dns_type { TRUST_A = 1, TRUST_PTR = 12, TRUST_MX = 15, TRUST_TXT = 16, TRUST_AAAA = 28 };

enum trust_dns_status {
    TRUST_DNS_OK,       /* there are records */
    TRUST_DNS_NODATA,   /* the name exists, without records of this type */
    TRUST_DNS_NXDOMAIN, /* the name does not exist */
    TRUST_DNS_FAILED,   /* SERVFAIL, no answer in time, bogus */
};

struct trust_record {
    uint16_t preference; /* MX */
    struct slice data;   /* A: 4 bytes, AAAA: 16; TXT: its strings concatenated; MX, PTR: the name,
                            lower case, without final dot */
};

struct trust_answer {
    enum trust_dns_status status;
    bool secure; /* DNSSEC */
    size_t count;
    const struct trust_record *records;
    bool late; /* with TRUST_DNS_FAILED: the time limit for all queries has expired */
};

struct trust_dns {
    /* The answer, valid as long as the arena of the run; NULL: not known yet, and recorded as
     * requested. name: without final dot, any case. */
    const struct trust_answer *(*lookup)(void *ctx, struct slice name, int type);
    void *ctx;
};

#endif
