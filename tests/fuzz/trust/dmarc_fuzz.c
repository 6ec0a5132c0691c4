/* DMARC of a foreign name, with foreign records at every name of its tree: the first line is the
 * author domain, the second a domain that passed, the others are the records, one name each.
 * Whatever they say, the walk is bounded, and explaining changes nothing. */
#include <stdlib.h>

#include "libcommon/mail/domain.h"
#include "libcommon/trust/dmarc/dmarc.h"

enum { ANSWERS_MAX = 16 };

struct world {
    struct trust_answer answers[ANSWERS_MAX];
    struct trust_record records[ANSWERS_MAX][2];
    size_t count, asked;
};

static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    struct world *w = ctx;
    size_t labels = 0;
    (void)type;
    w->asked++;
    for (size_t i = 0; i < name.n; i++) labels += name.p[i] == '.';
    return &w->answers[labels % w->count]; /* the same name has the same answer */
}

static void run(const struct dmarc_query *q, struct world *w, struct dmarc_verdict *out, struct arena *arena) {
    struct trust_dns dns = {look_up, w};
    w->asked = 0;
    if (dmarc_check(arena, q, &dns, out) != TRUST_DONE) abort(); /* everything is known */
    if (w->asked > 100) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice rest = slice_make(data, size), author, passed, line;
    char from[DOMAIN_BYTES];
    struct world w = {.count = 0};
    struct dmarc_record record;
    if (size > 20000 || !slice_cut(&rest, '\n', &author) || !slice_cut(&rest, '\n', &passed) ||
        domain_normalise(author, from) != 0)
        return 0;
    while (w.count < ANSWERS_MAX) {
        bool more = slice_cut(&rest, '\n', &line);
        if (!more) line = rest;
        struct trust_answer *a = &w.answers[w.count];
        struct slice first, second = line;
        bool two = slice_cut(&second, '|', &first);
        w.records[w.count][0].data = two ? first : line;
        w.records[w.count][1].data = second;
        enum trust_dns_status status = slice_is(line, "!")   ? TRUST_DNS_FAILED
                                       : slice_is(line, "")  ? TRUST_DNS_NXDOMAIN
                                       : slice_is(line, "-") ? TRUST_DNS_NODATA
                                                             : TRUST_DNS_OK;
        *a = (struct trust_answer){
            .status = status, .count = status == TRUST_DNS_OK ? (two ? 2 : 1) : 0, .records = w.records[w.count]};
        if (dmarc_record_parse(line, &record) == 0 && (record.pct < 0 || record.pct > 100)) abort();
        w.count++;
        if (!more) break;
    }
    struct arena *arena = arena_create();
    struct dkim_verdict dkim[2] = {{.result = DKIM_TEMPERROR}, {.result = DKIM_PASS}};
    dkim[0].signature.d = slice_of("other.example.com");
    dkim[1].signature.d = passed;
    struct dmarc_query q = {
        .from = slice_of(from), .spf = SPF_PASS, .spf_domain = passed, .dkim_count = 2, .dkim = dkim};
    struct dmarc_verdict plain, told;
    for (int how = DMARC_TREE_WALK; how <= DMARC_PUBLIC_SUFFIXES; how++) {
        q.discovery = (enum dmarc_discovery)how;
        q.explain = false;
        run(&q, &w, &plain, arena);
        q.explain = true;
        run(&q, &w, &told, arena);
        if (plain.result != told.result || plain.applied != told.applied || plain.dkim_aligned != told.dkim_aligned)
            abort();
        if (plain.applied > plain.policy ||
            (plain.result == DMARC_PASS) != (plain.has_record && (plain.spf_aligned || plain.dkim_aligned)))
            abort();
    }
    arena_destroy(arena);
    return 0;
}
