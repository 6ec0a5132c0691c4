/* postbus check spf: whether a client may send for a domain. */
#include <arpa/inet.h>
#include <time.h>

#include "libcommon/base/clock.h"
#include "services/cli/check/check.h"

enum { CHECK_MS = 20000 }; /* time for all DNS questions together (RFC 7208 §4.6.4) */

int check_spf_status(enum spf_result r) {
    return r == SPF_TEMPERROR ? CLI_TEMPORARY : r == SPF_FAIL || r == SPF_PERMERROR ? CLI_FAILED : CLI_OK;
}

void check_print_spf(const struct spf_verdict *v) {
    for (size_t i = 0; i < v->step_count; i++) printf("spf    %s\n", v->steps[i]);
    printf("spf    %s: %s (%d DNS lookups, %d void lookups)\n", spf_result_text(v->result), v->reason, v->lookups,
           v->void_lookups);
    if (*v->explanation) printf("spf    the domain explains: %s\n", v->explanation);
}

static json_t *verdict_of(const struct spf_verdict *v) {
    json_t *steps = json_array();
    for (size_t i = 0; i < v->step_count; i++) json_array_append_new(steps, json_string(v->steps[i]));
    return json_pack("{s:{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:o}}", "spf", "result", spf_result_text(v->result),
                     "reason", v->reason, "scope", v->scope, "domain", v->domain, "mechanism", v->mechanism,
                     "record_domain", v->record_domain, "explanation", v->explanation, "lookups", v->lookups,
                     "void_lookups", v->void_lookups, "steps", steps);
}

bool check_is_address(const char *text) {
    unsigned char bytes[16];
    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

struct slice check_sender(const char *mail_from) {
    struct slice s = slice_of(mail_from);
    return s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>' ? slice_make(s.p + 1, s.n - 2) : s;
}

/* DNS with a time limit for all questions. */
struct timed_dns {
    struct trust_dns dns;
    int64_t until_us;
};

static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    static const struct trust_answer late = {.status = TRUST_DNS_FAILED, .late = true};
    const struct timed_dns *t = ctx;
    return clock_monotonic_us() < t->until_us ? t->dns.lookup(t->dns.ctx, name, type) : &late;
}

static int usage(const char *why) {
    fprintf(stderr,
            "postbus: %s\nusage: postbus check spf --ip A [--helo H] [--mail-from M] [--resolver ADDR:PORT] [--json]\n",
            why);
    return CLI_USAGE;
}

int check_spf(struct cli *c) {
    if (!c->ip) return usage("--ip is missing: the address of the client");
    if (!check_is_address(c->ip)) return usage("--ip is not an IPv4 or IPv6 address");
    struct spf_query q = {.ip = slice_of(c->ip),
                          .helo = slice_of(c->helo),
                          .sender = check_sender(c->mail_from),
                          .receiver = SLICE("unknown"),
                          .now = time(NULL),
                          .explain = true};
    if (!q.helo.n && !q.sender.n)
        return usage(c->mail_from ? "the null reverse-path is checked by its HELO name: --helo is missing"
                                  : "--helo or --mail-from is missing");
    struct check_dns *d = check_dns_create(c->resolver, false);
    if (!d) return CLI_UNAVAILABLE;
    struct timed_dns timed = {check_dns_lookups(d), clock_monotonic_us() + CHECK_MS * 1000LL};
    struct trust_dns dns = {look_up, &timed};
    struct arena *arena = arena_create();
    struct spf_verdict v;
    spf_check(arena, &q, &dns, &v);
    json_t *o = verdict_of(&v);
    if (!print_json(c, o)) check_print_spf(&v);
    json_decref(o);
    int status = check_spf_status(v.result);
    arena_destroy(arena);
    check_dns_destroy(d);
    return status;
}
