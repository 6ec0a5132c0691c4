#include "services/verifier/records.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "services/verifier/domain.h"

struct list {
    struct arena *arena;
    struct dns_record *records;
    size_t n;
};

static void add(struct list *l, const char *name, const char *type, const char *value) {
    if (l->n < RECORDS_MAX) l->records[l->n++] = (struct dns_record){.name = name, .type = type, .value = value, .ttl = RECORDS_TTL};
}

/* A TXT value in strings of at most 255 bytes (RFC 1035 §3.3.14); what we publish holds neither quotes nor backslashes. */
static const char *txt(struct arena *arena, const char *text) {
    struct buf out = {0};
    size_t n = strlen(text);
    for (size_t at = 0; at == 0 || at < n; at += 255) buf_printf(&out, "%s\"%.*s\"", at ? " " : "", (int)(n - at < 255 ? n - at : 255), text + at);
    char *copy = arena_copy(arena, buf_slice(&out));
    buf_free(&out);
    return copy;
}

static bool is_inside(const char *name, const char *domain) {
    size_t n = strlen(name), d = strlen(domain);
    return n >= d && strcasecmp(name + n - d, domain) == 0 && (n == d || name[n - d - 1] == '.');
}

/* The next of a comma-separated list as a C string of arena; NULL at its end. */
static const char *next_of(struct arena *arena, struct slice *list) {
    struct slice one;
    while (list->n) {
        if (!slice_cut(list, ',', &one)) one = *list, list->n = 0;
        one = slice_trim(one);
        if (one.n) return arena_copy(arena, one);
    }
    return NULL;
}

static int family_of(const char *address) {
    unsigned char bytes[16];
    return inet_pton(AF_INET, address, bytes) == 1 ? 4 : inet_pton(AF_INET6, address, bytes) == 1 ? 6 : 0;
}

static void add_addresses(struct list *l, const char *name, const char *addresses) {
    struct slice left = slice_of(addresses);
    const char *one;
    while ((one = next_of(l->arena, &left))) {
        int family = family_of(one);
        if (family) add(l, name, family == 4 ? "A" : "AAAA", one);
    }
}

static void add_hosts(struct list *l, const struct records_input *in) {
    bool host_inside = is_inside(in->mail_host, in->domain);
    if (host_inside) {
        add_addresses(l, in->mail_host, in->addresses);
        /* The host's own name is the identity of a bounce's HELO (RFC 7208 §2.3). */
        if (strcasecmp(in->mail_host, in->domain) != 0) add(l, in->mail_host, "TXT", "\"v=spf1 a -all\"");
        if (*in->tlsa_hex) add(l, arena_printf(l->arena, "_25._tcp.%s", in->mail_host), "TLSA", arena_printf(l->arena, "3 1 1 %s", in->tlsa_hex));
    }
    struct slice left = slice_of(in->ns_names);
    const char *ns;
    while ((ns = next_of(l->arena, &left))) {
        size_t n = strlen(ns);
        if (n && ns[n - 1] == '.') ns = arena_copy(l->arena, slice_make(ns, n - 1));
        if (is_inside(ns, in->domain) && strcasecmp(ns, in->mail_host) != 0) add_addresses(l, ns, *in->ns_addresses ? in->ns_addresses : in->addresses);
    }
    if (*in->outgoing_name && is_inside(in->outgoing_name, in->domain) && strcasecmp(in->outgoing_name, in->mail_host) != 0) {
        add_addresses(l, in->outgoing_name, in->outgoing);
        add(l, in->outgoing_name, "TXT", "\"v=spf1 a -all\"");
    }
}

static void add_policies(struct list *l, const struct records_input *in) {
    struct arena *a = l->arena;
    struct buf spf = {0};
    const char *one;
    buf_add_str(&spf, "v=spf1");
    for (int from = 0; from < 2; from++) {
        struct slice left = slice_of(from ? in->outgoing : in->addresses);
        while ((one = next_of(a, &left)) && spf.n < 400) {
            int family = family_of(one);
            if (family) buf_printf(&spf, " ip%d:%s", family, one);
        }
    }
    buf_add_str(&spf, " mx -all");
    add(l, in->domain, "TXT", txt(a, buf_str(&spf)));
    buf_free(&spf);
    for (size_t i = 0; in->keys && i < in->keys->count; i++) {
        const struct signing_key *key = &in->keys->keys[i];
        const char *kind = strcmp(key->algorithm, "rsa-sha256") == 0 ? "rsa" : "ed25519";
        add(l, arena_printf(a, "%s._domainkey.%s", key->selector, in->domain), "TXT", txt(a, arena_printf(a, "v=DKIM1; k=%s; p=%s", kind, key->public_b64)));
    }
    add(l, arena_printf(a, "_dmarc.%s", in->domain), "TXT", txt(a, arena_printf(a, "v=DMARC1; p=%s", in->dmarc_policy)));
    add(l, arena_printf(a, "_smtp._tls.%s", in->domain), "TXT", txt(a, arena_printf(a, "v=TLSRPTv1; rua=mailto:postmaster@%s", in->domain)));
    if (*in->mta_sts) { /* the id changes with the policy (RFC 8461 §3.1) */
        unsigned char digest[SHA256_DIGEST_LENGTH];
        const char *policy = arena_printf(a, "%s %s", in->mta_sts, in->mail_host);
        SHA256((const unsigned char *)policy, strlen(policy), digest);
        add(l, arena_printf(a, "_mta-sts.%s", in->domain), "TXT",
            txt(a, arena_printf(a, "v=STSv1; id=%02x%02x%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3], digest[4], digest[5])));
        add(l, arena_printf(a, "mta-sts.%s", in->domain), "CNAME", arena_printf(a, "%s.", in->mail_host));
    }
}

/* RFC 6186 and RFC 8314 §5.1: what a client should use is what has the least priority. */
static void add_services(struct list *l, const struct records_input *in) {
    static const struct {
        const char *name;
        int priority, port;
    } services[] = {{"_submissions", 0, 465}, {"_submission", 5, 587}, {"_imaps", 0, 993}, {"_imap", 5, 143}, {"_pop3s", 10, 995}, {"_pop3", 15, 110}};
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        add(l, arena_printf(l->arena, "%s._tcp.%s", services[i].name, in->domain), "SRV",
            arena_printf(l->arena, "%d 1 %d %s.", services[i].priority, services[i].port, in->mail_host));
    const char *autoconfig = arena_printf(l->arena, "autoconfig.%s", in->domain);
    if (strcasecmp(autoconfig, in->mail_host) != 0) add(l, autoconfig, "CNAME", arena_printf(l->arena, "%s.", in->mail_host));
}

size_t records_make(struct arena *arena, const struct records_input *in, struct dns_record records[RECORDS_MAX]) {
    struct list l = {.arena = arena, .records = records};
    add(&l, in->domain, "MX", arena_printf(arena, "10 %s.", in->mail_host));
    add_hosts(&l, in);
    add_policies(&l, in);
    add_services(&l, in);
    return l.n;
}

/* SHA-256 of the certificate's public key as TLSA 3 1 1 wants it (RFC 6698 §2.1), in hex; "" when the file cannot be read. */
static const char *key_digest(struct arena *arena, const char *file) {
    unsigned char *der = NULL, digest[SHA256_DIGEST_LENGTH];
    FILE *in = fopen(file, "re");
    X509 *certificate = in ? PEM_read_X509(in, NULL, NULL, NULL) : NULL;
    if (in) fclose(in);
    int n = certificate ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der) : -1;
    char *hex = arena_alloc(arena, sizeof digest * 2 + 1);
    if (n > 0) {
        SHA256(der, (size_t)n, digest);
        for (size_t i = 0; i < sizeof digest; i++) snprintf(hex + i * 2, 3, "%02x", digest[i]);
    }
    OPENSSL_free(der);
    X509_free(certificate);
    return hex;
}

void records_settings(struct arena *arena, struct verifier *v, struct records_input *in) {
    char fallback[512];
    in->mail_host = v->worker->hostname;
    in->addresses = config_text("POSTBUS_PUBLIC_ADDRESSES", "");
    in->ns_names = config_text("POSTBUS_NS_NAMES", "");
    in->ns_addresses = config_text("POSTBUS_NS_ADDRESSES", "");
    in->outgoing_name = config_text("POSTBUS_OUTGOING_NAME", "");
    in->outgoing = config_text("POSTBUS_OUTGOING_ADDRESSES", "");
    in->dmarc_policy = config_text("POSTBUS_DMARC_POLICY", "quarantine");
    in->mta_sts = config_text("POSTBUS_MTA_STS", "");
    in->tlsa_hex = key_digest(arena, config_text("POSTBUS_TLS_CERT", config_secret_path("tls.crt", fallback)));
}

/* verifier.dns.records ------------------------------------------------------------------------------------------------------------------- */

struct request {
    struct verifier *verifier;
    struct bus_call *call;
    char domain[DOMAIN_MAX];
};

static void on_keys(void *ctx, struct domain_keys *keys, const char *code) {
    struct request *q = ctx;
    if (!keys && strcmp(code, "unavailable") == 0) {
        bus_refuse(q->call, "unavailable", "the domain's keys cannot be had now");
    } else {
        struct arena *arena = arena_create();
        struct dns_record records[RECORDS_MAX];
        struct records_input in = {.domain = q->domain, .keys = keys};
        records_settings(arena, q->verifier, &in);
        size_t n = records_make(arena, &in, records);
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++)
            json_array_append_new(
                list, json_pack("{s:s,s:s,s:i,s:s}", "name", records[i].name, "type", records[i].type, "ttl", records[i].ttl, "value", records[i].value));
        bus_answer(q->call, json_pack("{s:o}", "records", list));
        arena_destroy(arena);
    }
    verifier_end(q->verifier);
    free(q);
}

static void on_records(void *ctx, struct bus_call *call, const json_t *ask) {
    struct verifier *v = ctx;
    char domain[DOMAIN_MAX];
    if (domain_to_ascii(ask_text(ask, "domain"), domain)) {
        bus_refuse(call, "invalid", "not a domain name");
        return;
    }
    if (!verifier_begin(v, call)) return;
    struct request *q = memory_alloc(sizeof *q);
    q->verifier = v;
    q->call = call;
    memcpy(q->domain, domain, sizeof domain);
    key_cache_get(v->keys, slice_of(q->domain), on_keys, q);
}

void records_serve(struct verifier *v) { bus_serve(v->worker->bus, "dns.records", on_records, v); }
