/* How the proofs ask DNS. A proof is a function of what DNS answered: it looks names up here, and when an answer is not
 * known yet it asks for whatever else it can already ask for and ends with TRUST_PENDING; whoever runs it fetches what
 * was asked (all at once) and runs it again from the start. So the same proof serves an asynchronous service and a
 * blocking command line, and is as pure as a parser. */
#ifndef POSTBUS_TRUST_DNS_H
#define POSTBUS_TRUST_DNS_H

#include "libcommon/base/arena.h"

enum { TRUST_DONE = 0, TRUST_PENDING = 1 };

enum trust_dns_type { TRUST_A = 1, TRUST_PTR = 12, TRUST_MX = 15, TRUST_TXT = 16, TRUST_AAAA = 28 };

enum trust_dns_status {
    TRUST_DNS_OK,       /* there are records */
    TRUST_DNS_NODATA,   /* the name is there, without records of this type */
    TRUST_DNS_NXDOMAIN, /* there is no such name */
    TRUST_DNS_FAILED,   /* SERVFAIL, no answer in time, bogus: nothing is known */
};

struct trust_record {
    uint16_t preference; /* MX */
    struct slice data;   /* A: 4 bytes, AAAA: 16; TXT: its strings put together; MX, PTR: the name, lower case, without
                            final dot */
};

struct trust_answer {
    enum trust_dns_status status;
    bool secure; /* DNSSEC */
    size_t count;
    const struct trust_record *records;
    bool late; /* with TRUST_DNS_FAILED: not this question but the time for all of them is up */
};

struct trust_dns {
    /* The answer, valid as long as the arena of the run; NULL: not known yet, and noted as asked. name: without final
     * dot, any case. */
    const struct trust_answer *(*lookup)(void *ctx, struct slice name, int type);
    void *ctx;
};

#endif
