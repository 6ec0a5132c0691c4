/* postbus check domain: the mail records of any domain as receivers and senders see them, part by
 * part, with the changes to make. Needs no running site. */
#include "services/cli/check/check_domain.h"

#include "libcommon/base/member.h"
#include "libcommon/mail/domain.h"

static void print_part(const char *name, const json_t *part) {
    size_t i;
    const json_t *one, *found = json_object_get(part, "found");
    json_array_foreach(found, i, one) printf("%-8s %s\n", name, json_string_value(one));
    if (*member_text(part, "result")) printf("%-8s %s\n", name, member_text(part, "result"));
}

static void print_all(const struct domain_check *c) {
    static const char *const parts[] = {"spf", "dmarc", "mta_sts", "tls_rpt", "bimi", "caa"};
    size_t i, k;
    const json_t *one, *address;
    json_array_foreach(json_object_get(c->out, "mx"), i, one) {
        printf("%-8s %lld %s\n", "mx", json_integer_value(json_object_get(one, "preference")),
               member_text(one, "host"));
        json_array_foreach(json_object_get(one, "addresses"), k, address)
            printf("%-8s   %s is %s\n", "mx", member_text(address, "address"),
                   *member_text(address, "name") ? member_text(address, "name") : "without a name");
    }
    json_array_foreach(json_object_get(c->out, "dkim"), i, one)
        printf("%-8s %s: %s, %lld bits\n", "dkim", member_text(one, "selector"), member_text(one, "result"),
               json_integer_value(json_object_get(one, "bits")));
    for (i = 0; i < sizeof parts / sizeof *parts; i++) print_part(parts[i], json_object_get(c->out, parts[i]));
    json_array_foreach(json_object_get(c->out, "tlsa"), i, one)
        printf("%-8s %s %s\n", "tlsa", member_text(one, "host"), member_text(one, "found"));
    printf("%-8s %s\n", "dnssec", member_text(c->out, "dnssec"));
    json_array_foreach(c->problems, i, one)
        printf("%-8s %s: %s\n", member_text(one, "verdict"), member_text(one, "part"), member_text(one, "say"));
    if (!json_array_size(c->problems) && !c->unanswered) puts("no problems found");
}

int check_domain(struct cli *cli) {
    char domain[DOMAIN_BYTES];
    if (domain_normalise(slice_of(cli->words[0]), domain)) {
        fprintf(stderr, "postbus: %s is not a domain name\n", cli->words[0]);
        return CLI_USAGE;
    }
    struct check_dns *d = check_dns_create(cli->resolver, !cli->json);
    if (!d) return CLI_UNAVAILABLE;
    struct domain_check c = {.cli = cli,
                             .arena = arena_create(),
                             .dns = check_dns_lookups(d),
                             .domain = domain,
                             .out = json_object(),
                             .problems = json_array()};
    json_object_set_new(c.out, "domain", json_string(domain));
    check_domain_mx(&c);
    check_domain_spf(&c);
    check_domain_dkim(&c);
    check_domain_dmarc(&c);
    check_domain_mta_sts(&c);
    check_domain_tls_rpt(&c);
    check_domain_tlsa(&c);
    check_domain_others(&c);
    if (c.unanswered)
        json_array_append_new(c.problems, json_pack("{s:s,s:s,s:s}", "part", "dns", "verdict", "temperror", "say",
                                                    "some DNS queries had no answer: check again later"));
    json_object_set_new(c.out, "resolved", json_boolean(!c.unanswered));
    json_object_set_new(c.out, "problems", json_incref(c.problems));
    if (!print_json(cli, c.out)) print_all(&c);
    json_decref(c.out);
    json_decref(c.problems);
    arena_destroy(c.arena);
    check_dns_destroy(d);
    return c.errors ? CLI_FAILED : c.unanswered ? CLI_TEMPORARY : CLI_OK;
}
