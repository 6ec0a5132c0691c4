/* What other domains say of how mail may travel: MTA-STS records and policies, TLS-RPT records,
 * sets of TLSA records (each with a length byte before it). */
#include <stdlib.h>

#include "libcommon/trust/transport/dane.h"
#include "libcommon/trust/transport/mta_sts.h"
#include "libcommon/trust/transport/tls_rpt.h"

static void records(struct slice text) {
    struct slice found;
    if (mta_sts_record_parse(text, &found) == 0 && (!mta_sts_record_is(text) || !found.n || found.n > 32)) abort();
    if (tls_rpt_record_parse(text, &found) == 0 && (!tls_rpt_record_is(text) || !found.n)) abort();
}

static void policy(struct slice text) {
    struct arena *arena = arena_create();
    struct mta_sts_policy p;
    if (mta_sts_policy_parse(arena, text, &p) == 0) {
        if (p.max_age > MTA_STS_MAX_AGE_MAX || p.mx_count > MTA_STS_MX_MAX || (p.mode != MTA_STS_NONE && !p.mx_count))
            abort();
        for (size_t i = 0; i < p.mx_count; i++) /* a pattern without a wildcard names itself */
            if (p.mx[i].p[0] != '*' && !mta_sts_allows(&p, p.mx[i])) abort();
        mta_sts_allows(&p, text);
    }
    arena_destroy(arena);
}

static void tlsa(struct slice set) {
    struct dane_record all[DANE_RECORDS_MAX + 4], chosen[DANE_RECORDS_MAX];
    size_t count = 0, n;
    while (set.n && count < sizeof all / sizeof *all) {
        size_t length = (unsigned char)set.p[0];
        if (dane_record_parse(slice_head(slice_skip(set, 1), length), &all[count]) == 0) count++;
        set = slice_skip(set, length + 1);
    }
    enum dane_demand demand = dane_choose(count, all, &n, chosen);
    if ((demand == DANE_NONE) != (count == 0) || (demand == DANE_VERIFY) != (n > 0) || n > DANE_RECORDS_MAX) abort();
    for (size_t i = 0; i < n; i++)
        if (chosen[i].usage < DANE_TA || !dane_record_is_usable(&chosen[i]))
            abort(); /* what is chosen can be verified with, and is for SMTP */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice text = slice_make(data, size);
    records(text);
    policy(text);
    tlsa(text);
    return 0;
}
