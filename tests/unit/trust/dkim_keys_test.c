/* Key records (RFC 6376 §3.6, §6.1.2, RFC 8301 §3.2, RFC 8463 §4): each row is a record, or
 * several, that a well-signed message finds at its selector. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include "tests/unit/trust/signing.h"

static const char header[] = "From: Ann <ann@signer.test>\r\nSubject: hello\r\n";
static const char body[] = "one\r\n";
static const char rsa_tags[] = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=signer.test; s=sel; h=from:subject;";
static const char rsa_sub_tags[] =
    "v=1; a=rsa-sha256; c=relaxed/relaxed; d=signer.test; i=x@sub.signer.test; s=sel; h=from:subject;";
static const char ed_tags[] = "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=signer.test; s=sel; h=from:subject;";

/* Verifies a message signed so, with these records at its selector. */
static struct dkim_verdict judge(struct arena *arena, const struct signer *s, const char *tags,
                                 const char *const records[], size_t count) {
    struct scripted_record zone[12] = {{0}};
    struct buf message = {0};
    struct dkim_verdict *v;
    for (size_t i = 0; i < count; i++)
        zone[i] = (struct scripted_record){"sel._domainkey.signer.test", "TXT", records[i]};
    sign_with(s->key, "DKIM-Signature", tags, slice_of(header), slice_of(body), &message);
    buf_add_str(&message, header);
    assert_int_equal(verify_dkim(arena, arena_slice(arena, buf_slice(&message)), slice_of(body), zone, count, &v), 1);
    buf_free(&message);
    return *v;
}

static void records_are_judged_as_the_rfcs_say(void **state) {
    struct signer rsa = signer_create(false, 2048), ed = signer_create(true, 0), other = signer_create(false, 1024);
    static const struct {
        const char *rule;
        char who;                             /* r: rsa, e: ed25519, i: rsa with i= of a
                                                 subdomain */
        const char *record, *result, *reason; /* %s: the key; %o: another's */
    } rows[] = {
        {"§3.6.1: the usual", 'r', "v=DKIM1; k=rsa; p=%s", "pass", NULL},
        {"§3.6.1 v=: may be left out", 'r', "k=rsa; p=%s", "pass", NULL},
        {"§3.6.1 k=: rsa is the default", 'r', "p=%s", "pass", NULL},
        {"§3.6.1 v=: must be first", 'r', "k=rsa; v=DKIM1; p=%s", "permerror", "not first"},
        {"§3.6.1 v=: another version", 'r', "v=DKIM2; p=%s", "permerror", "not DKIM1"},
        {"§3.6.1 v=: has a case", 'r', "v=dkim1; p=%s", "permerror", "not DKIM1"},
        {"§3.6.1 p=: is required", 'r', "v=DKIM1; k=rsa", "permerror", "no p="},
        {"§6.1.2 step 7: revoked", 'r', "v=DKIM1; k=rsa; p=", "permerror", "revoked"},
        {"§6.1.2 step 7: revoked, with white space", 'r', "v=DKIM1; p= ;", "permerror", "revoked"},
        {"§3.6.1 p=: no base 64", 'r', "v=DKIM1; p=%s*", "permerror", "decoded"},
        {"§3.6.1 p=: base 64 of no key", 'r', "v=DKIM1; p=AAAA", "permerror", "decoded"},
        {"§3.6.1 p=: white space inside", 'r', "v=DKIM1; p= MIIB %s", "permerror", "decoded"},
        {"§3.6.1 k=: an unknown kind", 'r', "v=DKIM1; k=dsa; p=%s", "permerror", "another algorithm"},
        {"§3.6.1 k=: the other kind", 'r', "v=DKIM1; k=ed25519; p=%s", "permerror", "another algorithm"},
        {"RFC 8463 §4: ed25519", 'e', "v=DKIM1; k=ed25519; p=%s", "pass", NULL},
        {"RFC 8463 §4: k= is needed", 'e', "v=DKIM1; p=%s", "permerror", "another algorithm"},
        {"RFC 8463 §4: 32 bytes and no more", 'e', "v=DKIM1; k=ed25519; p=AAAA%s", "permerror", "decoded"},
        {"§3.6.1 h=: sha256 among them", 'r', "v=DKIM1; h=sha1 : sha256; p=%s", "pass", NULL},
        {"§6.1.2 step 6: h= without sha256", 'r', "v=DKIM1; h=sha1; p=%s", "permerror", "sha256"},
        {"§3.6.1 s=: all services", 'r', "v=DKIM1; s=*; p=%s", "pass", NULL},
        {"§3.6.1 s=: email among them", 'r', "v=DKIM1; s=tlsrpt:email; p=%s", "pass", NULL},
        {"§3.6.1 s=: not for email (RFC 8460's)", 'r', "v=DKIM1; s=tlsrpt; p=%s", "permerror", "email"},
        {"§3.6.1 t=: y is told", 'r', "v=DKIM1; t=y; p=%s", "pass", NULL},
        {"§3.6.1 t=s: i= is of the domain itself", 'r', "v=DKIM1; t=s; p=%s", "pass", NULL},
        {"§3.6.1 t=s: i= is of a subdomain", 'i', "v=DKIM1; t=s; p=%s", "permerror", "t=s"},
        {"§3.6.1 t=: y and s together", 'i', "v=DKIM1; t=y:s; p=%s", "permerror", "t=s"},
        {"§3.6.1 t=: without s a subdomain will do", 'i', "v=DKIM1; t=y; p=%s", "pass", NULL},
        {"§3.6.1 t=: unknown flags are ignored", 'i', "v=DKIM1; t=x:zz; p=%s", "pass", NULL},
        {"§3.6.1 n=: is for people", 'r', "v=DKIM1; n=hello =3B there; p=%s", "pass", NULL},
        {"§3.6.1: unknown tags are ignored", 'r', "v=DKIM1; g=*; zz=1; p=%s", "pass", NULL},
        {"§3.2: a tag twice", 'r', "v=DKIM1; p=%s; p=%s", "permerror", "malformed"},
        {"§3.2: white space around tags", 'r', "  v = DKIM1 ; k\t= rsa ; p = %s ; ", "pass", NULL},
        {"§6.1.2 step 5: no key record", 'r', "v=spf1 -all", "permerror", NULL},
        {"§6.1.2 step 5: nothing", 'r', "", "permerror", "malformed"},
        {"§6.1.3: another's key", 'r', "v=DKIM1; p=%o", "fail", "does not fit"},
        {"§6.1.2 step 2: DNS gives no answer", 'r', "!", "temperror", "DNS"},
    };
    size_t failures = 0;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *arena = arena_create();
        const struct signer *s = rows[i].who == 'e' ? &ed : &rsa;
        struct buf record = {0};
        for (const char *p = rows[i].record; *p; p++)
            if (*p == '%')
                buf_add_str(&record, *++p == 'o' ? other.p : s->p);
            else
                buf_add_char(&record, *p);
        const char *records[] = {buf_str(&record)};
        struct dkim_verdict v = judge(arena, s,
                                      rows[i].who == 'e'   ? ed_tags
                                      : rows[i].who == 'i' ? rsa_sub_tags
                                                           : rsa_tags,
                                      records, 1);
        if (strcmp(dkim_result_text(v.result), rows[i].result) != 0 ||
            (rows[i].reason && !strstr(v.reason, rows[i].reason))) {
            print_error("%s\n  %s\n  wanted %s, is %s: %s\n", rows[i].rule, rows[i].record, rows[i].result,
                        dkim_result_text(v.result), v.reason);
            failures++;
        }
        assert_int_equal(v.testing, strstr(rows[i].record, "t=y") != NULL); /* told, whatever the result */
        buf_free(&record);
        arena_destroy(arena);
    }
    EVP_PKEY_free(rsa.key);
    EVP_PKEY_free(ed.key);
    EVP_PKEY_free(other.key);
    assert_int_equal(failures, 0);
}

/* §6.1.2 step 4: of several records any may be the one, in whatever order DNS gives them. */
static void of_several_records_the_one_that_fits_is_found(void **state) {
    struct signer rsa = signer_create(false, 1024), other = signer_create(false, 1024);
    struct arena *arena = arena_create();
    const char *mixed[] = {"v=spf1 -all", "v=DKIM1; p=", other.record, rsa.record};
    const char *wrong[] = {other.record, other.record};
    const char *too_many[] = {other.record, other.record, other.record, rsa.record};
    (void)state;
    assert_int_equal(judge(arena, &rsa, rsa_tags, mixed, 4).result, DKIM_PASS);
    assert_int_equal(judge(arena, &rsa, rsa_tags, wrong, 2).result, DKIM_FAIL);
    assert_int_equal(judge(arena, &rsa, rsa_tags, too_many, 4).result, DKIM_FAIL); /* DKIM_RECORDS_MAX keys are tried */
    arena_destroy(arena);
    EVP_PKEY_free(rsa.key);
    EVP_PKEY_free(other.key);
}

static void no_record_is_a_permerror(void **state) {
    struct signer rsa = signer_create(false, 1024);
    struct arena *arena = arena_create();
    struct dkim_verdict v = judge(arena, &rsa, rsa_tags, NULL, 0);
    (void)state;
    assert_int_equal(v.result, DKIM_PERMERROR);
    assert_non_null(strstr(v.reason, "no key"));
    arena_destroy(arena);
    EVP_PKEY_free(rsa.key);
}

/* A public key that nobody could have made: n of so many bits, and any e. */
static void made_up_record(int bits, int e_bits, char *out, size_t size) {
    BIGNUM *n = BN_new(), *e = BN_new();
    BN_set_bit(n, bits - 1);
    BN_set_bit(n, 0);
    BN_set_bit(e, e_bits - 1);
    if (e_bits > 1) BN_set_bit(e, 0);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n);
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *key = NULL;
    unsigned char *der = NULL;
    struct buf b64 = {0};
    EVP_PKEY_fromdata_init(ctx);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
    int length = i2d_PUBKEY(key, &der);
    base64_encode(slice_make(der, (size_t)length), &b64);
    snprintf(out, size, "v=DKIM1; p=%s", buf_str(&b64));
    buf_free(&b64);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
}

/* RFC 8301 §3.2: 1024 to 4096 bits are to be known, fewer are no key. */
static void sizes_of_keys_are_bounded(void **state) {
    static const struct {
        int bits, e_bits;
        const char *result, *reason;
    } rows[] = {
        {512, 17, "permerror", "1024"},
        {1023, 17, "permerror", "1024"},
        {1024, 17, "fail", NULL},
        {4096, 17, "fail", NULL},
        {4097, 17, "permerror", "4096"},
        {16384, 17, "permerror", "4096"},
        {40000, 17, "permerror", "4096"},
        {100000, 17, "permerror", "large"},
        {2048, 2047, "permerror", "exponent"},
        {2048, 65, "permerror", "exponent"},
        {2048, 64, "fail", NULL},
        {2048, 1, "permerror", "exponent"},
    };
    struct signer rsa = signer_create(false, 1024);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *arena = arena_create();
        char record[20000];
        const char *records[] = {record};
        made_up_record(rows[i].bits, rows[i].e_bits, record, sizeof record);
        struct dkim_verdict v = judge(arena, &rsa, rsa_tags, records, 1);
        if (strcmp(dkim_result_text(v.result), rows[i].result) != 0)
            print_error("%d bits, exponent %d: %s\n", rows[i].bits, rows[i].e_bits, v.reason);
        assert_string_equal(dkim_result_text(v.result), rows[i].result);
        if (rows[i].reason) assert_non_null(strstr(v.reason, rows[i].reason));
        arena_destroy(arena);
    }
    EVP_PKEY_free(rsa.key);
}

static void a_record_of_64_kilobytes_is_no_key(void **state) {
    struct signer rsa = signer_create(false, 1024);
    struct arena *arena = arena_create();
    struct buf record = {0};
    (void)state;
    buf_printf(&record, "%s; n=", rsa.record);
    while (record.n < 65000) buf_add_str(&record, "xxxxxxxxxxxxxxxx");
    const char *records[] = {buf_str(&record)};
    struct dkim_verdict v = judge(arena, &rsa, rsa_tags, records, 1);
    assert_int_equal(v.result, DKIM_PERMERROR);
    assert_non_null(strstr(v.reason, "too large"));
    buf_free(&record);
    arena_destroy(arena);
    EVP_PKEY_free(rsa.key);
}

static void a_decoded_key_is_kept_and_told_apart_from_others(void **state) {
    struct signer a = signer_create(false, 1024), b = signer_create(false, 1024);
    struct dkim_key_cache *cache = dkim_key_cache_create();
    (void)state;
    for (int round = 0; round < 4; round++) {
        struct arena *arena = arena_create();
        struct signer *s = round % 2 ? &b : &a;
        struct scripted_record zone[] = {{"sel._domainkey.signer.test", "TXT", s->record}};
        struct scripted_dns script = {.records = zone, .count = 1, .arena = arena};
        struct trust_dns dns = {scripted_lookup, &script};
        struct buf message = {0};
        struct body_digest digests[BODY_HASHES_MAX];
        struct dkim_verdict *v;
        size_t n;
        sign_with(s->key, "DKIM-Signature", rsa_tags, slice_of(header), slice_of(body), &message);
        buf_add_str(&message, header);
        struct dkim_message m = {.header = buf_slice(&message), .digests = digests, .now = SIGNING_NOW};
        m.digest_count = body_digests_of(m.header, slice_of(body), digests);
        while (dkim_verify(arena, &m, &dns, cache, &n, &v) == TRUST_PENDING) continue;
        assert_int_equal(v->result, DKIM_PASS);
        buf_free(&message);
        arena_destroy(arena);
    }
    dkim_key_cache_destroy(cache);
    EVP_PKEY_free(a.key);
    EVP_PKEY_free(b.key);
}

/* Two keys of one message may share a place in the cache: neither goes while it is needed. 20 of
 * them in 512 places do, in one message of three. */
static void keys_of_one_message_do_not_push_each_other_out(void **state) {
    struct dkim_key_cache *cache = dkim_key_cache_create();
    (void)state;
    for (unsigned char round = 0; round < 30; round++) {
        struct arena *arena = arena_create();
        struct scripted_record zone[SIGNATURES_MAX];
        struct buf message = {0};
        struct body_digest digests[BODY_HASHES_MAX];
        struct dkim_verdict *v;
        size_t n;
        for (unsigned char i = 0; i < SIGNATURES_MAX; i++) {
            unsigned char seed[32] = {round, i}, raw[32];
            size_t raw_n = sizeof raw;
            struct buf p = {0};
            EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
            EVP_PKEY_get_raw_public_key(key, raw, &raw_n);
            base64_encode(slice_make(raw, raw_n), &p);
            zone[i] = (struct scripted_record){arena_printf(arena, "s%d._domainkey.signer.test", i), "TXT",
                                               arena_printf(arena, "k=ed25519; p=%s", buf_str(&p))};
            sign_with(key, "DKIM-Signature",
                      arena_printf(arena, "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=signer.test; s=s%d; h=from;", i),
                      slice_of(header), slice_of(body), &message);
            buf_free(&p);
            EVP_PKEY_free(key);
        }
        buf_add_str(&message, header);
        struct scripted_dns script = {.records = zone, .count = SIGNATURES_MAX, .arena = arena};
        struct trust_dns dns = {scripted_lookup, &script};
        struct dkim_message m = {.header = buf_slice(&message), .digests = digests, .now = SIGNING_NOW};
        m.digest_count = body_digests_of(m.header, slice_of(body), digests);
        while (dkim_verify(arena, &m, &dns, cache, &n, &v) == TRUST_PENDING) continue;
        assert_int_equal(n, SIGNATURES_MAX);
        for (size_t i = 0; i < n; i++) assert_int_equal(v[i].result, DKIM_PASS);
        buf_free(&message);
        arena_destroy(arena);
    }
    dkim_key_cache_destroy(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_judged_as_the_rfcs_say),
        cmocka_unit_test(of_several_records_the_one_that_fits_is_found),
        cmocka_unit_test(no_record_is_a_permerror),
        cmocka_unit_test(sizes_of_keys_are_bounded),
        cmocka_unit_test(a_record_of_64_kilobytes_is_no_key),
        cmocka_unit_test(a_decoded_key_is_kept_and_told_apart_from_others),
        cmocka_unit_test(keys_of_one_message_do_not_push_each_other_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
