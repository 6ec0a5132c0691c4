#include "libcommon/trust/transport/tls_rpt.h"

#include "libcommon/trust/transport/policy_record.h"

static const struct slice VERSION = {"v=TLSRPTv1", 10};

bool tls_rpt_record_is(struct slice txt) {
    struct slice rest;
    return policy_record_is(txt, VERSION, &rest);
}

/* tlsrpt-uri *(*WSP "," *WSP tlsrpt-uri); only the two schemes of §3 are valid. */
static bool is_list(struct slice list) {
    struct slice one;
    for (bool more = true; more;) {
        more = slice_cut(&list, ',', &one);
        one = slice_trim(more ? one : list);
        bool known = (slice_starts_nocase(one, SLICE("mailto:")) && slice_find(one, '@') > 0) ||
                     (slice_starts_nocase(one, SLICE("https://")) && one.n > 8);
        if (!known || slice_find(one, ' ') >= 0) return false;
    }
    return true;
}

int tls_rpt_record_parse(struct slice txt, struct slice *rua) {
    struct slice rest;
    struct policy_field field;
    int got;
    *rua = SLICE("");
    if (!policy_record_is(txt, VERSION, &rest)) return -1;
    while ((got = policy_record_next(&rest, true, &field)) == 1)
        if (!rua->n && slice_is(field.name, "rua")) *rua = field.value;
    return got == 0 && rua->n && is_list(*rua) ? 0 : -1;
}
