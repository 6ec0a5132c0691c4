/* postbus check spf: may this client send for that domain. */
#include <time.h>

#include "services/cli/check.h"

int check_spf_status(enum spf_result r) { return r == SPF_TEMPERROR ? CLI_TEMPORARY : r == SPF_FAIL || r == SPF_PERMERROR ? CLI_FAILED : CLI_OK; }

void check_print_spf(const struct spf_verdict *v) {
    for (size_t i = 0; i < v->step_count; i++) printf("spf    %s\n", v->steps[i]);
    printf("spf    %s: %s (%d lookups, %d of them void)\n", spf_result_text(v->result), v->reason, v->lookups, v->void_lookups);
    if (*v->explanation) printf("spf    the domain explains: %s\n", v->explanation);
}

int check_spf(struct cli *c) {
    if (!c->ip || !(c->helo || c->mail_from)) {
        fputs("usage: postbus check spf --ip A --helo H --mail-from M\n", stderr);
        return CLI_USAGE;
    }
    struct check_dns *d = check_dns_create(c->resolver, !c->json);
    if (!d) return CLI_UNAVAILABLE;
    struct trust_dns dns = check_dns_lookups(d);
    struct arena *arena = arena_create();
    struct spf_verdict v;
    struct spf_query q = {.ip = slice_of(c->ip), .helo = slice_of(c->helo), .sender = slice_of(c->mail_from), .receiver = SLICE("unknown"), .now = time(NULL)};
    spf_check(arena, &q, &dns, &v);
    if (c->json) {
        json_t *steps = json_array();
        for (size_t i = 0; i < v.step_count; i++) json_array_append_new(steps, json_string(v.steps[i]));
        json_t *o = json_pack("{s:{s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:o}}", "spf", "result", spf_result_text(v.result), "reason", v.reason, "mechanism", v.mechanism,
                              "domain", v.domain, "explanation", v.explanation, "lookups", v.lookups, "void_lookups", v.void_lookups, "steps", steps);
        check_print(o);
        json_decref(o);
    } else {
        check_print_spf(&v);
    }
    arena_destroy(arena);
    check_dns_destroy(d);
    return check_spf_status(v.result);
}
