/* postbus check domain: what a domain publishes about its mail. */
#include <stdio.h>

#include "libcommon/trust/mta_sts.h"
#include "services/cli/check.h"

/* The one record of a name that begins with prefix, NULL for none or several; *failed when DNS did not answer. */
static const struct trust_record *find_record(const struct trust_dns *dns, struct slice name, const char *prefix, bool *failed) {
    const struct trust_answer *a = dns->lookup(dns->ctx, name, TRUST_TXT);
    const struct trust_record *found = NULL;
    *failed |= a->status == TRUST_DNS_FAILED;
    for (size_t i = 0; i < a->count; i++) {
        if (!slice_starts_nocase(a->records[i].data, slice_of(prefix))) continue;
        if (found) return NULL;
        found = &a->records[i];
    }
    return found;
}

int check_domain(struct cli *c) {
    struct check_dns *d = check_dns_create(c->resolver, !c->json);
    if (!d) return CLI_UNAVAILABLE;
    struct trust_dns dns = check_dns_lookups(d);
    struct arena *arena = arena_create();
    struct slice domain = slice_of(c->words[0]), id;
    struct dmarc_record dmarc;
    bool failed = false;
    const struct trust_answer *mx = dns.lookup(dns.ctx, domain, TRUST_MX);
    failed |= mx->status == TRUST_DNS_FAILED;
    const struct trust_record *spf = find_record(&dns, domain, "v=spf1", &failed);
    const struct trust_record *policy = find_record(&dns, slice_of(arena_printf(arena, "_dmarc.%s", c->words[0])), "v=DMARC1", &failed);
    const struct trust_record *sts = find_record(&dns, slice_of(arena_printf(arena, "_mta-sts.%s", c->words[0])), "v=STSv1", &failed);
    bool has_policy = policy && dmarc_record_parse(policy->data, &dmarc) == 0, has_sts = sts && mta_sts_record_parse(sts->data, &id) == 0;
    const char *words = has_policy ? dmarc_policy_text(dmarc.p) : "missing";
    if (c->json) {
        json_t *o = json_pack("{s:s,s:i,s:b,s:b,s:s,s:b}", "domain", c->words[0], "mx", (int)mx->count, "resolved", !failed, "spf", spf != NULL, "dmarc", words,
                              "mta_sts", has_sts);
        check_print(o);
        json_decref(o);
    } else {
        printf("mx      %zu\nspf     %s\ndmarc   %s\nmta-sts %s\n", mx->count, spf ? "one record" : "missing, or several", words,
               has_sts ? "published" : "missing");
    }
    arena_destroy(arena);
    check_dns_destroy(d);
    return failed ? CLI_TEMPORARY : mx->count && spf && has_policy ? CLI_OK : CLI_FAILED;
}
