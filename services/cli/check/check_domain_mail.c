#include <arpa/inet.h>
#include <openssl/x509.h>
#include <time.h>

#include "libcommon/base/base64.h"
#include "libcommon/trust/spf/spf.h"
#include "libcommon/trust/tags.h"
#include "services/cli/check/check_domain.h"

enum { RSA_BITS_MIN = 1024, RSA_BITS_GOOD = 2048, ED25519_BYTES = 32, KEY_BYTES_MAX = 4096 };

/* MX */

static void reverse_name(const unsigned char *b, bool six, char out[80]) {
    size_t n = 0;
    if (!six) {
        snprintf(out, 80, "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
        return;
    }
    for (int i = 15; i >= 0; i--) n += (size_t)snprintf(out + n, 80 - n, "%x.%x.", b[i] & 15, b[i] >> 4);
    snprintf(out + n, 80 - n, "ip6.arpa");
}

/* An address of a host, with its name: a host that also sends mail needs a name that resolves to
 * its address (RFC 8601 §3). */
static void add_address(struct domain_check *c, json_t *list, const struct trust_record *r, bool six) {
    char text[INET6_ADDRSTRLEN], reverse[80];
    inet_ntop(six ? AF_INET6 : AF_INET, r->data.p, text, sizeof text);
    reverse_name((const unsigned char *)r->data.p, six, reverse);
    const struct trust_answer *names = domain_lookup(c, reverse, TRUST_PTR);
    const char *name = names->status == TRUST_DNS_OK && names->count ? domain_text(c, names->records[0].data) : "";
    json_array_append_new(list, json_pack("{s:s,s:s}", "address", text, "name", name));
}

static void add_host(struct domain_check *c, json_t *mx, int preference, struct slice host) {
    const char *name = domain_text(c, host);
    json_t *addresses = json_array(),
           *one = json_pack("{s:i,s:s,s:s}", "preference", preference, "host", name, "verdict", "ok");
    unsigned char bytes[16];
    bool failed = false;
    for (int six = 0; six < 2; six++) {
        const struct trust_answer *a = domain_lookup(c, name, six ? TRUST_AAAA : TRUST_A);
        failed = failed || a->status == TRUST_DNS_FAILED;
        for (size_t i = 0; i < a->count && json_array_size(addresses) < CHECK_DOMAIN_HOSTS_MAX; i++)
            add_address(c, addresses, &a->records[i], six);
    }
    if (inet_pton(AF_INET, name, bytes) == 1)
        domain_problem(c, "mx", one, PROBLEM_ERROR,
                       arena_printf(c->arena, "the MX %s is an address: it must be a host name (RFC 5321 §5.1)", name));
    else if (!json_array_size(addresses) && !failed)
        domain_problem(
            c, "mx", one, PROBLEM_ERROR,
            arena_printf(c->arena, "the MX host %s has no address: publish A or AAAA for it, or remove the MX", name));
    json_object_set_new(one, "addresses", addresses);
    json_array_append_new(mx, one);
    if (c->host_count < CHECK_DOMAIN_HOSTS_MAX) c->hosts[c->host_count++] = name;
}

void check_domain_mx(struct domain_check *c) {
    const struct trust_answer *a = domain_lookup(c, c->domain, TRUST_MX);
    json_t *mx = json_array();
    json_object_set_new(c->out, "mx", mx);
    if (a->status == TRUST_DNS_NXDOMAIN) {
        domain_problem(c, "mx", NULL, PROBLEM_ERROR, "the domain does not exist in DNS");
    } else if (a->status == TRUST_DNS_OK && a->count == 1 &&
               (!a->records[0].data.n || slice_is(a->records[0].data, "."))) { /* RFC 7505 §3 */
        c->takes_no_mail = true;
        json_array_append_new(
            mx, json_pack("{s:i,s:s,s:s,s:[]}", "preference", 0, "host", ".", "verdict", "ok", "addresses"));
    } else if (a->status == TRUST_DNS_OK) {
        for (size_t i = 0; i < a->count; i++) add_host(c, mx, a->records[i].preference, a->records[i].data);
    } else if (a->status == TRUST_DNS_NODATA) { /* RFC 5321 §5.1: without an MX the domain itself is
                                                   the host */
        domain_problem(c, "mx", NULL, PROBLEM_WARNING,
                       "there is no MX record, so mail is sent to the domain's own address, if it has one: publish an "
                       "MX, or a null MX (RFC 7505)");
        add_host(c, mx, 0, slice_of(c->domain));
    }
}

/* SPF */

/* The result for an unauthorized client, with an address that no reasonable record permits. */
static void ask_stranger(struct domain_check *c, const char *ip, struct spf_verdict *out) {
    const char *sender = arena_printf(c->arena, "postmaster@%s", c->domain);
    struct spf_query q = {.ip = slice_of(ip),
                          .helo = slice_of(c->domain),
                          .sender = slice_of(sender),
                          .receiver = SLICE("unknown"),
                          .now = time(NULL)};
    spf_check(c->arena, &q, &c->dns, out);
}

void check_domain_spf(struct domain_check *c) {
    struct spf_verdict four, six;
    json_t *found;
    domain_record(c, c->domain, "v=spf1", &found);
    ask_stranger(c, "0.0.0.0", &four);
    ask_stranger(c, "::", &six);
    const struct spf_verdict *v =
        six.result == SPF_PASS || six.result == SPF_PERMERROR ? &six : &four; /* the worse one */
    const char *reason = domain_text(c, slice_of(v->reason));                 /* it may quote the record */
    int lookups = four.lookups > six.lookups ? four.lookups : six.lookups,
        voids = four.void_lookups > six.void_lookups ? four.void_lookups : six.void_lookups;
    json_t *spf = json_pack("{s:s,s:s,s:s,s:i,s:i,s:o}", "result", spf_result_text(v->result), "verdict", "ok",
                            "reason", reason, "lookups", lookups, "void_lookups", voids, "found", found);
    json_object_set_new(c->out, "spf", spf);
    c->unanswered = c->unanswered || v->result == SPF_TEMPERROR;
    if (json_array_size(found) > 1)
        domain_problem(c, "spf", spf, PROBLEM_ERROR,
                       "there are several SPF records, which is an error (RFC 7208 §4.5): merge them into one");
    else if (v->result == SPF_NONE)
        domain_problem(c, "spf", spf, PROBLEM_ERROR,
                       "there is no SPF record, so any client may send in this name: publish v=spf1 with the addresses "
                       "that send, and -all (only v=spf1 -all when the domain sends no mail)");
    else if (v->result == SPF_PERMERROR)
        domain_problem(c, "spf", spf, PROBLEM_ERROR,
                       arena_printf(c->arena, "receivers cannot use the record: %s", reason));
    else if (v->result == SPF_PASS)
        domain_problem(c, "spf", spf, PROBLEM_ERROR, "the record permits every address: end it with -all");
    else if (v->result == SPF_NEUTRAL)
        domain_problem(c, "spf", spf, PROBLEM_WARNING,
                       "the record has no result for other addresses: end it with -all or ~all");
    if (v->result != SPF_PERMERROR && lookups > 8) /* §4.6.4 */
        domain_problem(
            c, "spf", spf, PROBLEM_WARNING,
            arena_printf(
                c->arena,
                "the record needs %d of at most 10 lookups: replace includes by addresses before the limit is exceeded",
                lookups));
    int gone = four.void_lookups < six.void_lookups
                   ? four.void_lookups
                   : six.void_lookups; /* a host may have addresses of one family only */
    if (v->result != SPF_PERMERROR && gone)
        domain_problem(
            c, "spf", spf, PROBLEM_WARNING,
            arena_printf(
                c->arena,
                "%d of its lookups have no result, and more than 2 are an error: remove names that no longer exist",
                gone));
}

/* DKIM */

/* The size in bits of the key in a record (RFC 6376 §3.6.1, RFC 8463 §4.2); 0 with the reason. */
static int key_bits(struct slice record, const char **reason) {
    struct slice p = tag_find(record, "p"), k = tag_find(record, "k");
    bool ed25519 = slice_is_nocase(k, "ed25519");
    struct buf bytes = {0};
    int bits = 0;
    *reason = "the key cannot be read: p= must be a key in base 64";
    if (k.p && !ed25519 && !slice_is_nocase(k, "rsa")) {
        *reason = "the key's type (k=) is neither rsa nor ed25519";
    } else if (p.p && p.n <= KEY_BYTES_MAX && base64_decode(p, true, &bytes) == 0) {
        const unsigned char *der = (const unsigned char *)buf_str(&bytes);
        EVP_PKEY *key = ed25519 ? NULL : d2i_PUBKEY(NULL, &der, (long)bytes.n);
        bits = ed25519                                            ? (bytes.n == ED25519_BYTES ? 256 : 0)
               : key && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA ? EVP_PKEY_get_bits(key)
                                                                  : 0;
        EVP_PKEY_free(key);
    }
    buf_free(&bytes);
    return bits;
}

static void check_selector(struct domain_check *c, json_t *list, const char *selector, bool given) {
    const char *name = arena_printf(c->arena, "%s._domainkey.%s", selector, c->domain), *reason = "";
    const struct trust_answer *a = domain_lookup(c, name, TRUST_TXT);
    json_t *one = json_pack("{s:s,s:s,s:i,s:s}", "selector", selector, "result", "none", "bits", 0, "verdict", "ok");
    if (a->status == TRUST_DNS_OK && a->count) {
        struct slice record = a->records[0].data, p = tag_find(record, "p");
        int bits = p.p && !p.n ? 0 : key_bits(record, &reason);
        json_object_set_new(one, "found", json_string(domain_text(c, record)));
        json_object_set_new(one, "bits", json_integer(bits));
        json_object_set_new(one, "testing", json_boolean(slice_find(tag_find(record, "t"), 'y') >= 0));
        json_object_set_new(one, "result", json_string(bits ? "pass" : p.p && !p.n ? "revoked" : "permerror"));
        if (a->count > 1)
            domain_problem(
                c, "dkim", one, PROBLEM_ERROR,
                arena_printf(c->arena, "the selector %s has several records: leave one (RFC 6376 §3.6.2.2)", selector));
        else if (!bits && !(p.p && !p.n))
            domain_problem(c, "dkim", one, PROBLEM_ERROR, arena_printf(c->arena, "selector %s: %s", selector, reason));
        else if (bits && bits < RSA_BITS_MIN && bits != 256)
            domain_problem(
                c, "dkim", one, PROBLEM_ERROR,
                arena_printf(
                    c->arena,
                    "the key of selector %s has %d bits, and receivers must not accept less than 1024 (RFC 8301 §3.2)",
                    selector, bits));
        else if (bits && bits < RSA_BITS_GOOD && bits != 256)
            domain_problem(c, "dkim", one, PROBLEM_WARNING,
                           arena_printf(c->arena,
                                        "the key of selector %s has %d bits: make one of 2048 (RFC 8301 §3.2)",
                                        selector, bits));
    } else if (a->status == TRUST_DNS_FAILED) {
        json_object_set_new(one, "result", json_string("temperror"));
    } else if (given) {
        domain_problem(
            c, "dkim", one, PROBLEM_ERROR,
            arena_printf(c->arena, "the selector %s has no key at %s: signatures with it fail", selector, name));
    }
    if (given || a->status == TRUST_DNS_OK) json_array_append(list, one);
    json_decref(one);
}

void check_domain_dkim(struct domain_check *c) {
    static const char *const common[] = {"default",   "mail",   "dkim", "s1", "s2",  "selector1",
                                         "selector2", "google", "k1",   "mx", "smtp"};
    struct slice left = slice_of(c->cli->selector), one;
    json_t *list = json_array();
    while (left.n) {
        if (!slice_cut(&left, ',', &one)) one = left, left.n = 0;
        one = slice_trim(one);
        if (one.n && one.n < 64) check_selector(c, list, domain_text(c, one), true);
    }
    for (size_t i = 0; i < sizeof common / sizeof *common && !c->cli->selector; i++)
        check_selector(c, list, common[i], false);
    json_object_set_new(c->out, "dkim", list);
    if (!json_array_size(list) && !c->takes_no_mail)
        domain_problem(
            c, "dkim", NULL, PROBLEM_WARNING,
            "no key was found at the usual selectors; name the one in the s= of a DKIM-Signature with --selector");
}
