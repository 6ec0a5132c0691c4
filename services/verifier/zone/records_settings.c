/* The input of records_make from the environment, the domain's own settings and the
 * certificates. */
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>

#include "libcommon/base/config.h"
#include "services/verifier/zone/record_list.h"

/* SHA-256 of the certificate's public key for TLSA 3 1 1 (RFC 6698 §2.1), in hex; "" when the file
 * cannot be read. */
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

/* The domain's own setting, or else the site's. An empty setting of the domain turns a record
 * off. */
static const char *choose(const json_t *own, const char *name, const char *site) {
    const char *text = json_string_value(json_object_get(own, name));
    return text ? text : site;
}

static void read_caa(struct arena *arena, const json_t *own, struct records_input *in) {
    const json_t *list = json_object_get(own, "caa"), *one;
    size_t i;
    if (json_is_array(list)) {
        json_array_foreach(list, i, one) if (json_is_string(one) && in->caa_count < RECORDS_CAA_MAX)
            in->caa[in->caa_count++] = json_string_value(one);
        return;
    }
    struct slice left = slice_of(config_text("POSTBUS_DNS_CAA", ""));
    const char *word;
    while (in->caa_count < RECORDS_CAA_MAX && (word = record_next(arena, &left))) in->caa[in->caa_count++] = word;
}

void records_settings(struct arena *arena, struct verifier *v, const json_t *own, struct records_input *in) {
    char fallback[512], next[512];
    in->mail_host = v->worker->hostname;
    in->addresses = config_text("POSTBUS_PUBLIC_ADDRESSES", "");
    in->ns_names = config_text("POSTBUS_NS_NAMES", "");
    in->ns_addresses = config_text("POSTBUS_NS_ADDRESSES", "");
    in->outgoing_name = config_text("POSTBUS_OUTGOING_NAME", "");
    in->outgoing = config_text("POSTBUS_OUTGOING_ADDRESSES", "");
    in->dmarc_policy = choose(own, "dmarc_policy", config_text("POSTBUS_DMARC_POLICY", "quarantine"));
    in->dmarc_rua = choose(
        own, "dmarc_rua", config_text("POSTBUS_DMARC_RUA", arena_printf(arena, "mailto:dmarc-reports@%s", in->domain)));
    in->dmarc_ruf = choose(own, "dmarc_ruf", config_text("POSTBUS_DMARC_RUF", ""));
    in->tlsrpt_rua = config_text("POSTBUS_TLSRPT_RUA", arena_printf(arena, "mailto:tls-reports@%s", in->domain));
    in->mta_sts = choose(own, "mta_sts", config_text("POSTBUS_MTA_STS", ""));
    in->bimi_location = choose(own, "bimi_location", "");
    in->bimi_authority = choose(own, "bimi_authority", "");
    in->tlsa_hex = key_digest(arena, config_text("POSTBUS_TLS_CERT", config_secret_path("tls.crt", fallback)));
    in->tlsa_next_hex =
        key_digest(arena, config_text("POSTBUS_TLS_CERT_NEXT", config_secret_path("tls.next.crt", next)));
    read_caa(arena, own, in);
}
