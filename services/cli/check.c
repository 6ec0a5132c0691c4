/* postbus check …: the proofs of this system, from a shell and with no system up. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "libcommon/mail/header.h"
#include "libcommon/trust/mta_sts.h"
#include "libcommon/trust/trust.h"
#include "services/cli/check.h"
#include "services/cli/cli.h"

enum { MESSAGE_BYTES_MAX = 64 << 20 };

/* The file with CRLF line ends (a stored message may have LF alone): 0 or -1. */
static int read_message(const char *path, struct buf *out) {
    FILE *f = fopen(strcmp(path, "-") == 0 ? "/dev/stdin" : path, "rb");
    if (!f) {
        fprintf(stderr, "postbus: %s: %s\n", path, strerror(errno));
        return -1;
    }
    for (int c, last = 0; out->n < MESSAGE_BYTES_MAX && (c = getc(f)) != EOF; last = c) {
        if (c == '\n' && last != '\r') buf_add_char(out, '\r');
        buf_add_char(out, (char)c);
    }
    bool whole = feof(f) && !ferror(f);
    fclose(f);
    if (!whole) fprintf(stderr, "postbus: %s: cannot be read whole, or is over 64 MiB\n", path);
    return whole ? 0 : -1;
}

static void print_object(const json_t *object) {
    char *text = json_dumps(object, JSON_INDENT(2));
    if (text) puts(text);
    free(text);
}

static int status_of_spf(enum spf_result r) { return r == SPF_TEMPERROR ? CLI_TEMPORARY : r == SPF_FAIL || r == SPF_PERMERROR ? CLI_FAILED : CLI_OK; }

/* The worst of the proofs: something that cannot be known now, before what failed. */
static int status_of(const struct trust_result *r, bool envelope) {
    bool temporary = r->dmarc.result == DMARC_TEMPERROR, failed = r->dmarc.result == DMARC_FAIL || r->dmarc.result == DMARC_PERMERROR;
    if (envelope) {
        temporary |= status_of_spf(r->spf.result) == CLI_TEMPORARY;
        failed |= status_of_spf(r->spf.result) == CLI_FAILED;
    }
    for (size_t i = 0; i < r->dkim_count; i++) {
        temporary |= r->dkim[i].result == DKIM_TEMPERROR;
        failed |= r->dkim[i].result == DKIM_FAIL || r->dkim[i].result == DKIM_PERMERROR;
    }
    failed |= r->arc.result == ARC_FAIL;
    return temporary ? CLI_TEMPORARY : failed ? CLI_FAILED : CLI_OK;
}

static void print_spf(const struct spf_verdict *v) {
    for (size_t i = 0; i < v->step_count; i++) printf("spf    %s\n", v->steps[i]);
    printf("spf    %s: %s (%d lookups, %d of them void)\n", spf_result_text(v->result), v->reason, v->lookups, v->void_lookups);
    if (*v->explanation) printf("spf    the domain explains: %s\n", v->explanation);
}

static int check_spf(struct cli *c) {
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
        print_object(o);
        json_decref(o);
    } else {
        print_spf(&v);
    }
    arena_destroy(arena);
    check_dns_destroy(d);
    return status_of_spf(v.result);
}

static void print_message(const struct trust_result *r, bool envelope) {
    if (envelope) print_spf(&r->spf);
    if (!r->dkim_count) puts("dkim   none: the message carries no signature");
    for (size_t i = 0; i < r->dkim_count; i++) {
        const struct dkim_signature *s = &r->dkim[i].signature;
        printf("dkim   %s: %s (d=%.*s s=%.*s a=%.*s bh=%.*s)\n", dkim_result_text(r->dkim[i].result), r->dkim[i].reason, SLICE_FMT(s->d), SLICE_FMT(s->s),
               SLICE_FMT(s->a), SLICE_FMT(s->bh));
    }
    printf("dmarc  %s: %s (from %s, record of %s, policy %s)\n", dmarc_result_text(r->dmarc.result), r->dmarc.reason, r->dmarc.from_domain,
           r->dmarc.record_domain, dmarc_policy_text(r->dmarc.policy));
    printf("arc    %s: %s (%zu sets)\n", arc_result_text(r->arc.result), r->arc.reason, r->arc.sets);
}

static int check_message(struct cli *c) {
    struct buf message = {0};
    if (read_message(c->words[0], &message)) {
        buf_free(&message);
        return CLI_FAILED;
    }
    struct check_dns *d = check_dns_create(c->resolver, !c->json);
    if (!d) {
        buf_free(&message);
        return CLI_UNAVAILABLE;
    }
    struct trust_dns dns = check_dns_lookups(d);
    struct body_hash_kind kinds[BODY_HASHES_MAX];
    struct body_digest digests[BODY_HASHES_MAX];
    size_t body_at;
    struct slice header = header_block(buf_slice(&message), &body_at), body = slice_skip(buf_slice(&message), body_at);
    size_t count = body_hash_wanted(header, kinds);
    for (size_t i = 0; i < count; i++) {
        struct body_hash *h = body_hash_create(kinds[i]);
        body_hash_update(h, body);
        digests[i].kind = kinds[i];
        body_hash_finish(h, digests[i].digest, &digests[i].hashed);
    }
    struct arena *arena = arena_create();
    struct dkim_key_cache *cache = dkim_key_cache_create();
    struct trust_result r;
    bool envelope = c->ip && (c->helo || c->mail_from);
    struct trust_input in = {.client_ip = slice_of(c->ip),
                             .helo = slice_of(c->helo),
                             .mail_from = slice_of(c->mail_from),
                             .header = header,
                             .digest_count = count,
                             .digests = digests,
                             .authserv_id = SLICE("postbus-check"),
                             .now = time(NULL)};
    trust_verify(arena, &in, &dns, cache, &r);
    if (c->json) {
        json_t *o = trust_result_json(&r, true);
        if (!envelope) { /* without an envelope there is nothing these could be about */
            json_object_del(o, "spf");
            json_object_del(o, "iprev");
        }
        print_object(o);
        json_decref(o);
    } else {
        print_message(&r, envelope);
    }
    int status = status_of(&r, envelope);
    dkim_key_cache_destroy(cache);
    arena_destroy(arena);
    check_dns_destroy(d);
    buf_free(&message);
    return status;
}

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

static int check_domain(struct cli *c) {
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
        print_object(o);
        json_decref(o);
    } else {
        printf("mx      %zu\nspf     %s\ndmarc   %s\nmta-sts %s\n", mx->count, spf ? "one record" : "missing, or several", words,
               has_sts ? "published" : "missing");
    }
    arena_destroy(arena);
    check_dns_destroy(d);
    return failed ? CLI_TEMPORARY : mx->count && spf && has_policy ? CLI_OK : CLI_FAILED;
}

const struct command check_commands[] = {
    {"check", "spf", "--ip A --helo H --mail-from M", "may this client send for that domain", 0, 0, check_spf},
    {"check", "message", "FILE", "the proofs of a stored message (- for standard input)", 1, 1, check_message},
    {"check", "domain", "DOMAIN", "what a domain publishes about its mail", 1, 1, check_domain},
    {0},
};
