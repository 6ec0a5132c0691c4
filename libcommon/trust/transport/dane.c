#include "libcommon/trust/transport/dane.h"

#include <openssl/err.h>
#include <openssl/x509.h>

enum {
    SELECTOR_CERTIFICATE = 0,
    SELECTOR_KEY = 1,
    MATCHING_FULL = 0,
    MATCHING_SHA256 = 1,
    MATCHING_SHA512 = 2,
    SHA256_BYTES = 32,
    SHA512_BYTES = 64
};

int dane_record_parse(struct slice rdata, struct dane_record *out) {
    if (rdata.n < 4) return -1; /* three fields and at least one byte of data */
    const unsigned char *b = (const unsigned char *)rdata.p;
    *out = (struct dane_record){b[0], b[1], b[2], slice_skip(rdata, 3)};
    return 0;
}

/* Whether data is one whole certificate or public key in DER. */
static bool is_der(unsigned char selector, struct slice data) {
    const unsigned char *at = (const unsigned char *)data.p, *end = at + data.n;
    bool whole;
    if (selector == SELECTOR_CERTIFICATE) {
        X509 *certificate = d2i_X509(NULL, &at, (long)data.n);
        whole = certificate && at == end && X509_get0_pubkey(certificate);
        X509_free(certificate);
    } else {
        EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)data.n);
        whole = key && at == end;
        EVP_PKEY_free(key);
    }
    ERR_clear_error();
    return whole;
}

bool dane_record_is_usable(const struct dane_record *r) {
    if ((r->usage != DANE_TA && r->usage != DANE_EE) || r->selector > SELECTOR_KEY) return false;
    switch (r->matching) {
    case MATCHING_FULL: return is_der(r->selector, r->data);
    case MATCHING_SHA256: return r->data.n == SHA256_BYTES;
    case MATCHING_SHA512: return r->data.n == SHA512_BYTES;
    default: return false;
    }
}

/* RFC 7671 §9: a weaker digest is ignored when there is a stronger one of the same usage and
 * selector. */
static bool is_outdone(const struct dane_record *r, size_t count, const struct dane_record records[]) {
    if (r->matching != MATCHING_SHA256) return false;
    for (size_t i = 0; i < count; i++)
        if (records[i].matching == MATCHING_SHA512 && records[i].usage == r->usage &&
            records[i].selector == r->selector && dane_record_is_usable(&records[i]))
            return true;
    return false;
}

enum dane_demand dane_choose(size_t count, const struct dane_record records[], size_t *chosen_count,
                             struct dane_record chosen[DANE_RECORDS_MAX]) {
    size_t n = 0;
    if (count > DANE_RECORDS_MAX) count = DANE_RECORDS_MAX;
    for (size_t i = 0; i < count; i++)
        if (dane_record_is_usable(&records[i]) && !is_outdone(&records[i], count, records)) chosen[n++] = records[i];
    *chosen_count = n;
    return n ? DANE_VERIFY : count ? DANE_ENCRYPT : DANE_NONE;
}

size_t dane_reference_names(struct slice base, struct slice domain, struct slice domain_canonical,
                            struct slice names[DANE_NAMES_MAX]) {
    const struct slice all[DANE_NAMES_MAX] = {base, domain, domain_canonical};
    size_t n = 0;
    for (size_t i = 0; i < DANE_NAMES_MAX; i++) {
        bool there = !all[i].n;
        for (size_t k = 0; k < n; k++) there = there || slice_equal_nocase(names[k], all[i]);
        if (!there) names[n++] = all[i];
    }
    return n;
}
