/* Verifying and signing. */
#include "libcommon/trust/dkim.h"

#include <openssl/err.h>

#include "libcommon/base/base64.h"
#include "libcommon/mail/header.h"

int dkim_verify(struct arena *arena, struct slice header, size_t digest_count, const struct body_digest digests[], const struct trust_dns *dns,
                struct dkim_key_cache *cache, int64_t now, size_t *count, struct dkim_verdict **verdicts) {
    struct dkim_verdict *list = arena_alloc(arena, SIGNATURES_MAX * sizeof *list);
    struct slice raws[SIGNATURES_MAX];
    struct dkim_key keys[SIGNATURES_MAX];
    struct header_field field;
    size_t at = 0, n = 0;
    bool pending = false;
    struct buf data = {0};
    while (n < SIGNATURES_MAX && header_next(header, &at, &field) == 1) {
        if (!slice_is_nocase(field.name, "DKIM-Signature")) continue;
        struct dkim_verdict *v = &list[n];
        raws[n] = field.raw;
        keys[n] = (struct dkim_key){0};
        n++;
        const char *wrong = dkim_signature_parse(field.value, DKIM_SIGNATURE, &v->signature);
        v->result = DKIM_PERMERROR;
        v->reason = wrong;
        if (wrong) continue;
        if (v->signature.expires >= 0 && v->signature.expires < now) { /* §3.5 x= */
            v->result = DKIM_FAIL;
            v->reason = "the signature has expired";
            continue;
        }
        if (!dkim_body_fits(&v->signature, digest_count, digests, &v->reason)) {
            v->result = DKIM_FAIL;
            continue;
        }
        if (dkim_key_fetch(dns, cache, &v->signature, &keys[n - 1], &v->result, &v->reason) == TRUST_PENDING) pending = true;
        v->bits = keys[n - 1].bits;
        v->testing = keys[n - 1].testing;
    }
    for (size_t i = 0; i < n; i++) {
        struct dkim_verdict *v = &list[i];
        if (!pending && keys[i].key) {
            buf_reset(&data);
            dkim_signed_header(header, &v->signature, raws[i], &data);
            bool fits = dkim_signature_fits(&v->signature, &keys[i], buf_slice(&data));
            v->result = fits ? DKIM_PASS : DKIM_FAIL;
            v->reason = fits ? "the signature fits" : "the signature does not fit: a signed field was changed, or the key is another";
        }
        if (keys[i].key) dkim_key_release(&keys[i]);
    }
    buf_free(&data);
    *count = n;
    *verdicts = list;
    return pending ? TRUST_PENDING : TRUST_DONE;
}

int dkim_sign_bytes(EVP_PKEY *key, struct slice data, struct buf *b64) {
    unsigned char signature[DKIM_RSA_BITS_MAX / 8], digest[32];
    size_t n = sizeof signature;
    unsigned digest_n = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md) memory_exhausted();
    bool ed25519 = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
    bool good = ed25519 ? EVP_Digest(data.p, data.n, digest, &digest_n, EVP_sha256(), NULL) == 1 && EVP_DigestSignInit(md, NULL, NULL, NULL, key) == 1 &&
                              EVP_DigestSign(md, signature, &n, digest, sizeof digest) == 1
                        : EVP_PKEY_get_size(key) <= (int)sizeof signature && EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
                              EVP_DigestSign(md, signature, &n, (const unsigned char *)data.p, data.n) == 1;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    if (good) base64_encode(slice_make(signature, n), b64);
    return good ? 0 : -1;
}

/* Base 64 folded so that no line passes 78 characters. */
static void add_folded(struct buf *out, struct slice b64) {
    for (size_t i = 0; i < b64.n; i += 72) {
        buf_add_str(out, "\r\n\t");
        buf_add_slice(out, slice_head(slice_skip(b64, i), 72));
    }
}

int dkim_sign(struct slice header, const unsigned char body_hash[BODY_HASH_BYTES], struct slice domain, struct slice selector, EVP_PKEY *key, int64_t now,
              struct buf *out) {
    /* RFC 6376 §5.4.1; `over`: named once more than it is there */
    static const struct {
        const char *name;
        bool over;
    } fields[] = {{"From", true},
                  {"To", true},
                  {"Cc", true},
                  {"Subject", true},
                  {"Date", true},
                  {"Message-ID", true},
                  {"In-Reply-To", true},
                  {"References", true},
                  {"Reply-To", true},
                  {"Sender", true},
                  {"MIME-Version", true},
                  {"Content-Type", true},
                  {"Content-Transfer-Encoding", true},
                  {"List-Id", false},
                  {"List-Unsubscribe", false},
                  {"List-Unsubscribe-Post", false},
                  {"Resent-From", false},
                  {"Resent-To", false},
                  {"Resent-Date", false},
                  {"Resent-Message-ID", false}};
    struct buf field = {0}, data = {0}, b64 = {0};
    struct dkim_signature s;
    size_t column = 0;
    bool ed25519 = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
    buf_printf(&field, "DKIM-Signature: v=1; a=%s; c=relaxed/relaxed;\r\n\td=%.*s; s=%.*s; t=%lld;\r\n\th=", ed25519 ? "ed25519-sha256" : "rsa-sha256",
               SLICE_FMT(domain), SLICE_FMT(selector), (long long)now);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        size_t there = header_count(header, fields[i].name), times = there + (fields[i].over ? 1 : 0);
        for (size_t k = 0; k < times && k < 10; k++) {
            if (column > 55) {
                buf_add_str(&field, "\r\n\t");
                column = 0;
            }
            buf_printf(&field, "%s:", fields[i].name);
            column += strlen(fields[i].name) + 1;
        }
    }
    field.n--; /* the last colon */
    base64_encode(slice_make(body_hash, BODY_HASH_BYTES), &b64);
    buf_printf(&field, ";\r\n\tbh=%s;\r\n\tb=", buf_str(&b64));
    buf_reset(&b64);
    struct slice value = slice_skip(buf_slice(&field), strlen("DKIM-Signature:"));
    s = (struct dkim_signature){.relaxed_header = true};
    struct slice h = slice_skip(value, (size_t)((const char *)memmem(value.p, value.n, "h=", 2) - value.p) + 2);
    s.h = slice_head(h, (size_t)slice_find(h, ';'));
    dkim_signed_header(header, &s, buf_slice(&field), &data);
    int failed = dkim_sign_bytes(key, buf_slice(&data), &b64);
    if (!failed) {
        buf_add_slice(out, buf_slice(&field));
        add_folded(out, buf_slice(&b64));
        buf_add_str(out, "\r\n");
    }
    buf_free(&field);
    buf_free(&data);
    buf_free(&b64);
    return failed;
}
