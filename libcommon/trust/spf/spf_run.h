/* The state of an evaluation. */
#ifndef POSTBUS_TRUST_SPF_RUN_H
#define POSTBUS_TRUST_SPF_RUN_H

#include "libcommon/trust/spf/spf.h"

/* The result of a term. PENDING stops the evaluation until DNS has answered. */
enum spf_step { SPF_NO_MATCH, SPF_MATCH, SPF_STOP_TEMP, SPF_STOP_PERM, SPF_STOP_PENDING };

struct spf_run {
    struct arena *arena;
    const struct spf_query *query;
    const struct trust_dns *dns;
    struct spf_verdict *out;
    struct slice local, origin, helo; /* domains as A-labels */
    unsigned char ip[16];
    bool v6;
    const char *ip_text;
    bool names_asked; /* the client's PTR records were counted */
    bool late;        /* the time limit has expired (§4.6.4) */
    int depth;        /* of include */
    int ahead;        /* queries of later terms that were sent early */
};

#endif
