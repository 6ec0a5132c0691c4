/* The policies of a domain for authentication of its mail, and its addresses for reports. */
#include <openssl/sha.h>

#include "services/verifier/zone/record_list.h"

static void add_dkim(struct record_list *l, const struct records_input *in) {
    for (size_t i = 0; in->keys && i < in->keys->count; i++) {
        const struct signing_key *key = &in->keys->keys[i];
        const char *kind = strcmp(key->algorithm, "rsa-sha256") == 0 ? "rsa" : "ed25519";
        record_add(l, arena_printf(l->arena, "%s._domainkey.%s", key->selector, in->domain), "TXT",
                   record_txt(l->arena, arena_printf(l->arena, "v=DKIM1; k=%s; p=%s", kind, key->public_b64)),
                   RECORD_NEEDED, "DKIM: the public key for this domain's signatures");
    }
}

/* The domain of a report address "mailto:name@domain[!size]" (RFC 9990, RFC 8460 §3), lower case,
 * of arena; NULL for another URI. */
static const char *address_domain(struct arena *arena, const char *uri) {
    if (strncasecmp(uri, "mailto:", 7) != 0) return NULL;
    const char *at = strrchr(uri, '@');
    if (!at || !at[1]) return NULL;
    char *domain = arena_copy(arena, slice_of(at + 1));
    domain[strcspn(domain, "!?")] = '\0';
    for (char *c = domain; *c; c++)
        if (*c >= 'A' && *c <= 'Z') *c = (char)(*c + 32);
    return domain;
}

/* A receiver of reports about another domain has to agree to this (RFC 9990 §3; RFC 7489 §7.1). */
static void add_report_permission(struct record_list *l, const struct records_input *in, const char *uris) {
    struct slice left = slice_of(uris);
    const char *one;
    while ((one = record_next(l->arena, &left))) {
        const char *to = address_domain(l->arena, one);
        if (!to || record_is_inside(to, in->domain) || record_is_inside(in->domain, to)) continue;
        const char *name = arena_printf(l->arena, "%s._report._dmarc.%s", in->domain, to);
        bool known = false;
        for (size_t i = 0; i < l->n; i++) known = known || strcasecmp(l->records[i].name, name) == 0;
        if (!known)
            record_add(l, name, "TXT", "\"v=DMARC1\"", RECORD_ADVISED,
                       "the permission of another domain for this domain's DMARC reports, in that domain's zone");
    }
}

static void add_dmarc(struct record_list *l, const struct records_input *in) {
    struct arena *a = l->arena;
    const char *rua = *in->dmarc_rua ? arena_printf(a, "; rua=%s", in->dmarc_rua) : "",
               *ruf = *in->dmarc_ruf ? arena_printf(a, "; ruf=%s", in->dmarc_ruf) : "";
    record_add(l, arena_printf(a, "_dmarc.%s", in->domain), "TXT",
               record_txt(a, arena_printf(a, "v=DMARC1; p=%s%s%s", in->dmarc_policy, rua, ruf)), RECORD_NEEDED,
               "DMARC: the policy for unauthenticated mail in this domain's name");
    add_report_permission(l, in, in->dmarc_rua);
    add_report_permission(l, in, in->dmarc_ruf);
}

static void add_mta_sts(struct record_list *l, const struct records_input *in) {
    struct arena *a = l->arena;
    unsigned char digest[SHA256_DIGEST_LENGTH]; /* the id changes with the policy (RFC 8461 §3.1) */
    const char *policy = arena_printf(a, "%s %s", in->mta_sts, in->mail_host);
    SHA256((const unsigned char *)policy, strlen(policy), digest);
    record_add(l, arena_printf(a, "_mta-sts.%s", in->domain), "TXT",
               record_txt(a, arena_printf(a, "v=STSv1; id=%02x%02x%02x%02x%02x%02x", digest[0], digest[1], digest[2],
                                          digest[3], digest[4], digest[5])),
               RECORD_ADVISED, "MTA-STS: the policy that mail to this domain requires TLS");
    record_add(l, arena_printf(a, "mta-sts.%s", in->domain), "CNAME", arena_printf(a, "%s.", in->mail_host),
               RECORD_ADVISED, "MTA-STS: the host that serves the policy");
}

/* RFC 8659 §4: the CAs that may issue certificates for the domain's names. */
static void add_caa(struct record_list *l, const struct records_input *in) {
    for (size_t i = 0; i < in->caa_count; i++) {
        const char *word = in->caa[i], *tag = "issue";
        if (strncasecmp(word, "iodef:", 6) == 0) tag = "iodef", word += 6;
        if (strncasecmp(word, "wild:", 5) == 0) tag = "issuewild", word += 5;
        if (!strpbrk(word, "\"\\"))
            record_add(l, in->domain, "CAA", arena_printf(l->arena, "0 %s \"%s\"", tag, word), RECORD_ADVISED,
                       "CAA: the CAs that may issue certificates for the domain");
    }
}

void records_add_policies(struct record_list *l, const struct records_input *in) {
    struct arena *a = l->arena;
    add_dkim(l, in);
    add_dmarc(l, in);
    if (*in->tlsrpt_rua) /* RFC 8460 §3 */
        record_add(l, arena_printf(a, "_smtp._tls.%s", in->domain), "TXT",
                   record_txt(a, arena_printf(a, "v=TLSRPTv1; rua=%s", in->tlsrpt_rua)), RECORD_ADVISED,
                   "TLS-RPT: the address for other servers' reports on TLS to this domain");
    if (*in->mta_sts) add_mta_sts(l, in);
    if (*in->bimi_location) {
        const char *authority = *in->bimi_authority ? arena_printf(a, " a=%s;", in->bimi_authority) : "";
        record_add(l, arena_printf(a, "default._bimi.%s", in->domain), "TXT",
                   record_txt(a, arena_printf(a, "v=BIMI1; l=%s;%s", in->bimi_location, authority)), RECORD_ADVISED,
                   "BIMI: the logo that mail clients show");
    }
    add_caa(l, in);
}
