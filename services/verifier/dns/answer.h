/* Parses a DNS answer in wire format (RFC 1035 §4): the records of the queried type at the end of
 * the alias chain. Pure: no I/O. */
#ifndef POSTBUS_VERIFIER_ANSWER_H
#define POSTBUS_VERIFIER_ANSWER_H

#include "libcommon/base/arena.h"

enum { ANSWER_RECORDS_MAX = 256, ANSWER_CHAIN_MAX = 16, ANSWER_NAME_MAX = 1024 };
enum answer_type {
    TYPE_A = 1,
    TYPE_NS = 2,
    TYPE_CNAME = 5,
    TYPE_SOA = 6,
    TYPE_PTR = 12,
    TYPE_MX = 15,
    TYPE_TXT = 16,
    TYPE_AAAA = 28,
    TYPE_SRV = 33,
    TYPE_DS = 43,
    TYPE_TLSA = 52,
    TYPE_CAA = 257
};

enum answer_status {
    ANSWER_OK,       /* there are records */
    ANSWER_NODATA,   /* the name exists, without records of this type */
    ANSWER_NXDOMAIN, /* the name does not exist */
    ANSWER_FAILED,   /* SERVFAIL, no answer in time, bogus */
};
enum answer_security { ANSWER_INSECURE, ANSWER_SECURE, ANSWER_BOGUS };

struct answer_record {
    uint16_t preference; /* MX */
    struct slice data;   /* A: 4 bytes, AAAA: 16; TXT: its strings concatenated (RFC 7208 §3.3); MX,
                            PTR, CNAME, NS: the name, lower case, without final dot ("" is the
                            root); others: in wire format */
};

struct answer {
    enum answer_status status;
    enum answer_security security;
    uint32_t ttl;           /* seconds: the smallest TTL of all records of the chain; for a negative
                               answer, from its SOA (RFC 2308 §5) */
    struct slice canonical; /* the name at the end of the alias chain, lower case, without final
                               dot */
    struct slice reason;    /* the reason of a failure, in words; otherwise empty */
    bool unasked;           /* it failed because a bound was reached; no query was sent */
    size_t count;
    struct answer_record *records;
};

/* Reads packet, the answer to (name, type), into *out, all copied into arena. 0, or -1 when it is
 * malformed or exceeds a bound (out is then ANSWER_FAILED). The caller sets security. */
int answer_parse(struct arena *arena, struct slice packet, struct slice name, int type, struct answer *out);
/* A copy of a into arena. */
struct answer *answer_copy(struct arena *arena, const struct answer *a);

#endif
