/* DKIM and ARC: canonical forms, body hashes in any cuts, signatures that hold and signatures that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "libcommon/base/base64.h"
#include "libcommon/mail/header.h"
#include "libcommon/trust/tags.h"
#include "libcommon/trust/trust.h"
#include "tests/unit/trust/scripted_dns.h"

static void fields_are_canonical_as_in_the_rfcs_example(void **state) {
    /* RFC 6376 §3.4.5 */
    struct buf out = {0};
    (void)state;
    dkim_canonical_field(SLICE("A: X\r\n"), true, &out);
    dkim_canonical_field(SLICE("B : Y\t\r\n\tZ  \r\n"), true, &out);
    assert_string_equal(buf_str(&out), "a:X\r\nb:Y Z\r\n");
    buf_reset(&out);
    dkim_canonical_field(SLICE("B : Y\t\r\n\tZ  \r\n"), false, &out);
    assert_string_equal(buf_str(&out), "B : Y\t\r\n\tZ  \r\n");
    buf_free(&out);
}

static void the_value_of_b_goes_and_nothing_else(void **state) {
    static const struct {
        const char *field, *without;
    } cases[] = {
        {"DKIM-Signature: a=1; b=abc\r\n\tdef; c=2\r\n", "DKIM-Signature: a=1; b=; c=2"},
        {"DKIM-Signature: bh=xx; b=abc\r\n", "DKIM-Signature: bh=xx; b="},
        {"DKIM-Signature: b = abc ;x=b=1\r\n", "DKIM-Signature: b =;x=b=1"},
        {"DKIM-Signature: h=a:b; b=\r\n", "DKIM-Signature: h=a:b; b="},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        dkim_field_without_b(slice_of(cases[i].field), false, &out);
        assert_string_equal(buf_str(&out), cases[i].without);
        buf_free(&out);
    }
}

static void digest_of(const char *body, bool relaxed, int64_t length, size_t piece, char b64[64]) {
    struct body_hash *h = body_hash_create((struct body_hash_kind){relaxed, length});
    unsigned char digest[BODY_HASH_BYTES];
    uint64_t hashed;
    struct buf out = {0};
    for (struct slice rest = slice_of(body); rest.n; rest = slice_skip(rest, piece)) body_hash_update(h, slice_head(rest, piece));
    body_hash_finish(h, digest, &hashed);
    base64_encode(slice_make(digest, sizeof digest), &out);
    snprintf(b64, 64, "%s", buf_str(&out));
    buf_free(&out);
}

static void bodies_hash_alike_however_they_are_cut(void **state) {
    static const struct {
        const char *body, *canonical; /* canonical: what the hash must be of */
        bool relaxed;
    } cases[] = {
        {"", "\r\n", false}, /* §3.4.3 */
        {"", "", true},      /* §3.4.4 */
        {"\r\n\r\n", "\r\n", false},
        {"\r\n\r\n", "", true},
        {" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n", true}, /* §3.4.5 */
        {" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", false},
        {"no end", "no end\r\n", false},
        {"no end", "no end\r\n", true},
        {"a\r\n\r\n\r\nb\r\n", "a\r\n\r\n\r\nb\r\n", true},
        {"a\rb\r\n", "a\rb\r\n", true},
        {"a \t\r\n \t\r\nb", "a\r\n\r\nb\r\n", true},
        {"x\r\n \r\n", "x\r\n", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char digest[32];
        unsigned n = 0;
        struct buf wanted = {0};
        EVP_Digest(cases[i].canonical, strlen(cases[i].canonical), digest, &n, EVP_sha256(), NULL);
        base64_encode(slice_make(digest, n), &wanted);
        for (size_t piece = 1; piece < 9; piece++) {
            char got[64];
            digest_of(cases[i].body, cases[i].relaxed, -1, piece, got);
            assert_string_equal(got, buf_str(&wanted));
        }
        buf_free(&wanted);
    }
    char whole[64], part[64];
    digest_of("12345\r\n", false, -1, 3, whole);
    digest_of("12345\r\nmore\r\n", false, 7, 3, part); /* l= */
    assert_string_equal(whole, part);
}

static void tag_lists_are_strict_where_the_rfc_is(void **state) {
    (void)state;
    assert_true(tags_are_valid(SLICE("v=1; a=b;")));
    assert_true(tags_are_valid(SLICE(" v = 1 ;\r\n\ta=b=c ")));
    assert_false(tags_are_valid(SLICE("v=1; v=2")));
    assert_false(tags_are_valid(SLICE("v")));
    assert_false(tags_are_valid(SLICE("1v=1")));
    assert_false(tags_are_valid(SLICE("")));
    assert_true(slice_is(tag_find(SLICE("a=1; b = 2 ;c=3"), "b"), "2"));
    assert_null(tag_find(SLICE("a=1"), "b").p);
}

/* A signer for the tests: a key, and the record it publishes. */
struct signer {
    EVP_PKEY *key;
    char record[1024];
};

static struct signer signer_create(bool ed25519, int bits) {
    struct signer s = {.key = ed25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits)};
    struct buf b64 = {0};
    if (ed25519) {
        unsigned char raw[32];
        size_t n = sizeof raw;
        EVP_PKEY_get_raw_public_key(s.key, raw, &n);
        base64_encode(slice_make(raw, n), &b64);
    } else {
        unsigned char *der = NULL;
        int n = i2d_PUBKEY(s.key, &der);
        base64_encode(slice_make(der, (size_t)n), &b64);
        OPENSSL_free(der);
    }
    snprintf(s.record, sizeof s.record, "v=DKIM1; k=%s; p=%s", ed25519 ? "ed25519" : "rsa", buf_str(&b64));
    buf_free(&b64);
    return s;
}

static const char header_text[] = "From: Ann <ann@signer.test>\r\nTo: bob@here.test\r\nSubject: folded\r\n  subject\r\nDate: Tue, 24 Nov 2026 10:00:00 "
                                  "+0000\r\nMessage-ID: <1@signer.test>\r\n";
static const char body_text[] = "Hello  Bob \r\n\r\nbye\r\n\r\n";
static const int64_t now = 1795513277;

/* Runs trust_verify on a message until DNS has said everything. */
static struct trust_result verify(struct arena *arena, struct slice header, const char *body, const struct scripted_record *records, size_t count) {
    struct scripted_dns script = {.records = records, .count = count, .arena = arena};
    struct trust_dns dns = {scripted_lookup, &script};
    struct body_hash_kind kinds[BODY_HASHES_MAX];
    struct body_digest digests[BODY_HASHES_MAX];
    struct trust_result result;
    size_t n = body_hash_wanted(header, kinds);
    for (size_t i = 0; i < n; i++) {
        struct body_hash *h = body_hash_create(kinds[i]);
        digests[i].kind = kinds[i];
        body_hash_update(h, slice_of(body));
        body_hash_finish(h, digests[i].digest, &digests[i].hashed);
    }
    struct trust_input in = {.client_ip = SLICE("192.0.2.1"),
                             .helo = SLICE("mx.signer.test"),
                             .mail_from = SLICE("ann@signer.test"),
                             .header = header,
                             .digest_count = n,
                             .digests = digests,
                             .authserv_id = SLICE("mx.here.test"),
                             .now = now};
    int rounds = 0;
    while (trust_verify(arena, &in, &dns, NULL, &result) == TRUST_PENDING) assert_true(++rounds < 50);
    return result;
}

static struct buf signed_header(const struct signer *s, const char *selector) {
    struct buf signature = {0};
    unsigned char digest[32];
    uint64_t hashed;
    struct body_hash *h = body_hash_create((struct body_hash_kind){true, -1});
    body_hash_update(h, slice_of(body_text));
    body_hash_finish(h, digest, &hashed);
    assert_int_equal(dkim_sign(slice_of(header_text), digest, SLICE("signer.test"), slice_of(selector), s->key, now, &signature), 0);
    for (struct slice rest = buf_slice(&signature), line; slice_cut(&rest, '\n', &line);) assert_true(line.n <= 79); /* RFC 5322 §2.1.1 */
    buf_add_str(&signature, header_text);
    return signature;
}

static void what_we_sign_verifies_and_what_was_changed_does_not(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct signer s = signer_create(kind == 1, 2048);
        struct scripted_record zone[] = {
            {"sel._domainkey.signer.test", "TXT", s.record}, {"_dmarc.signer.test", "TXT", "v=DMARC1; p=reject"}, {"signer.test", "TXT", "v=spf1 -all"}};
        struct arena *arena = arena_create();
        struct buf header = signed_header(&s, "sel");
        struct trust_result good = verify(arena, buf_slice(&header), body_text, zone, 3);
        assert_int_equal(good.dkim_count, 1);
        assert_string_equal(dkim_result_text(good.dkim[0].result), "pass");
        assert_int_equal(good.dmarc.result, DMARC_PASS); /* by DKIM, though SPF fails */
        assert_int_equal(good.spf.result, SPF_FAIL);
        assert_int_equal(good.disposition, TRUST_ACCEPT);
        struct trust_result body = verify(arena, buf_slice(&header), "Hello  Eve \r\n", zone, 3);
        assert_string_equal(dkim_result_text(body.dkim[0].result), "fail");
        assert_int_equal(body.disposition, TRUST_REJECT);
        assert_string_equal(body.enhanced, "5.7.26");
        assert_int_equal(verify(arena, buf_slice(&header), "Hello Bob\r\n\r\nbye\r\n", zone, 3).dkim[0].result, DKIM_PASS); /* relaxed */
        struct buf second = {0}; /* a second From: over-signed, so it breaks the signature */
        buf_add_slice(&second, buf_slice(&header));
        buf_add_str(&second, "Subject: another\r\n");
        assert_int_equal(verify(arena, buf_slice(&second), body_text, zone, 3).dkim[0].result, DKIM_FAIL);
        buf_free(&second);
        buf_free(&header);
        arena_destroy(arena);
        EVP_PKEY_free(s.key);
    }
}

static void keys_decide(void **state) {
    struct signer weak = signer_create(false, 768), rsa = signer_create(false, 2048), ed = signer_create(true, 0);
    char revoked[] = "v=DKIM1; p=", wrong_kind[1100], wrong_hash[1100], service[1100];
    snprintf(wrong_kind, sizeof wrong_kind, "%s", ed.record);
    snprintf(wrong_hash, sizeof wrong_hash, "v=DKIM1; h=sha1; %s", strstr(rsa.record, "k="));
    snprintf(service, sizeof service, "v=DKIM1; s=tlsrpt; %s", strstr(rsa.record, "k="));
    const struct {
        const struct signer *signer;
        const char *record, *result;
    } cases[] = {
        {&rsa, rsa.record, "pass"},
        {&rsa, strstr(rsa.record, "k="), "pass"}, /* v= may be left out (§3.6.1) */
        {&rsa, revoked, "permerror"},
        {&rsa, wrong_kind, "permerror"},
        {&rsa, wrong_hash, "permerror"},
        {&rsa, service, "permerror"},
        {&rsa, "v=DKIM2; p=AAAA", "permerror"},
        {&rsa, "garbage", "permerror"},
        {&rsa, "!", "temperror"},
        {&rsa, NULL, "permerror"},         /* no record */
        {&weak, weak.record, "permerror"}, /* RFC 8301 §3.2 */
        {&ed, ed.record, "pass"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scripted_record zone[] = {{"sel._domainkey.signer.test", "TXT", cases[i].record}};
        struct arena *arena = arena_create();
        struct buf header = signed_header(cases[i].signer, "sel");
        struct trust_result r = verify(arena, buf_slice(&header), body_text, zone, cases[i].record ? 1 : 0);
        if (strcmp(dkim_result_text(r.dkim[0].result), cases[i].result) != 0)
            print_error("case %zu: %s: %s\n", i, dkim_result_text(r.dkim[0].result), r.dkim[0].reason);
        assert_string_equal(dkim_result_text(r.dkim[0].result), cases[i].result);
        buf_free(&header);
        arena_destroy(arena);
    }
    EVP_PKEY_free(weak.key);
    EVP_PKEY_free(rsa.key);
    EVP_PKEY_free(ed.key);
}

static void signatures_that_are_no_signatures_are_permerrors(void **state) {
    static const char *const cases[] = {
        "a=rsa-sha256; b=x; bh=x; d=a.test; h=from; s=s", /* no v= */
        "v=2; a=rsa-sha256; b=x; bh=x; d=a.test; h=from; s=s",
        "v=1; a=rsa-sha1; b=x; bh=x; d=a.test; h=from; s=s", /* RFC 8301 */
        "v=1; a=rot13; b=x; bh=x; d=a.test; h=from; s=s",
        "v=1; a=rsa-sha256; b=x; bh=x; d=a.test; h=to; s=s", /* From is not signed */
        "v=1; a=rsa-sha256; b=x; bh=x; h=from; s=s",
        "v=1; a=rsa-sha256; b=x; bh=x; d=a.test; h=from",
        "v=1; a=rsa-sha256; b=x; d=a.test; h=from; s=s",
        "v=1; a=rsa-sha256; b=x; bh=x; d=a.test; h=from; s=s; i=@b.test",
        "v=1; a=rsa-sha256; b=x; bh=x; d=a.test; h=from; s=s; l=x",
        "v=1; a=rsa-sha256; b=x; bh=x; d=a.test; h=from; s=s; t=5; x=4",
        "v=1; a=rsa-sha256; b=x; bh=x; d=a.test; h=from; s=s; c=loose",
        "v=1; a=rsa-sha256; b=x; bh=x; d=a.test; h=from; s=s; q=ldap",
        "v=1; v=1; a=rsa-sha256; b=x; bh=x; d=a.test; h=from; s=s",
        "nonsense",
    };
    struct dkim_signature s;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_non_null(dkim_signature_parse(slice_of(cases[i]), DKIM_SIGNATURE, &s));
    assert_null(dkim_signature_parse(SLICE("v=1; a=rsa-sha256; b=x; bh=x; d=a.test; h=to : From; s=s; i=@sub.a.test; c=relaxed"), DKIM_SIGNATURE, &s));
    assert_true(s.relaxed_header && !s.body.relaxed);
}

static void a_chain_of_seals_holds_until_one_link_is_broken(void **state) {
    struct signer s = signer_create(false, 2048);
    struct scripted_record zone[] = {{"arc._domainkey.signer.test", "TXT", s.record}};
    struct arena *arena = arena_create();
    struct buf header = {0};
    (void)state;
    buf_add_str(&header, header_text);
    for (size_t hop = 1; hop <= 3; hop++) {
        struct trust_result before = verify(arena, buf_slice(&header), body_text, zone, 1);
        assert_string_equal(arc_result_text(before.arc.result), hop == 1 ? "none" : "pass");
        assert_int_equal(before.arc.sets, hop - 1);
        unsigned char digest[32];
        uint64_t hashed;
        struct body_hash *h = body_hash_create((struct body_hash_kind){true, -1});
        body_hash_update(h, slice_of(body_text));
        body_hash_finish(h, digest, &hashed);
        struct buf sealed = {0};
        assert_int_equal(arc_seal(buf_slice(&header), digest, &before.arc, SLICE("mx.signer.test"), SLICE(" spf=pass"), SLICE("signer.test"), SLICE("arc"),
                                  s.key, now, &sealed),
                         0);
        buf_add_slice(&sealed, buf_slice(&header));
        buf_free(&header);
        header = sealed;
    }
    struct trust_result whole = verify(arena, buf_slice(&header), body_text, zone, 1);
    assert_string_equal(arc_result_text(whole.arc.result), "pass");
    assert_string_equal(whole.arc.sealer, "signer.test");
    assert_int_equal(verify(arena, buf_slice(&header), "another body\r\n", zone, 1).arc.result, ARC_FAIL);
    /* one set's field is missing */
    struct header_field f;
    assert_true(header_find_last(buf_slice(&header), "ARC-Seal", &f));
    struct buf broken = {0};
    buf_add(&broken, header.data, f.offset);
    buf_add(&broken, header.data + f.offset + f.raw.n, header.n - f.offset - f.raw.n);
    assert_int_equal(verify(arena, buf_slice(&broken), body_text, zone, 1).arc.result, ARC_FAIL);
    /* a result of an older hop was changed */
    char *spf = strstr(header.data, "spf=pass");
    memcpy(spf, "spf=fail", 8);
    assert_int_equal(verify(arena, buf_slice(&header), body_text, zone, 1).arc.result, ARC_FAIL);
    buf_free(&broken);
    buf_free(&header);
    arena_destroy(arena);
    EVP_PKEY_free(s.key);
}

static void policies_apply_to_what_is_not_proven(void **state) {
    static const struct {
        const char *record_name, *record, *from, *disposition;
    } cases[] = {
        {"_dmarc.a.test", "v=DMARC1; p=reject", "a.test", "reject"},
        {"_dmarc.a.test", "v=DMARC1; p=quarantine", "a.test", "quarantine"},
        {"_dmarc.a.test", "v=DMARC1; p=none", "a.test", "accept"},
        {"_dmarc.a.test", "v=DMARC1; p=reject", "sub.a.test", "reject"}, /* the organizational domain's */
        {"_dmarc.a.test", "v=DMARC1; p=reject; sp=none", "sub.a.test", "accept"},
        {"_dmarc.a.test", "v=DMARC1; p=none; sp=none; np=reject", "nx.a.test", "reject"}, /* DMARCbis: a name that does not exist */
        {"_dmarc.a.test", "v=DMARC1; p=reject; pct=0", "a.test", "quarantine"},           /* RFC 7489 §6.6.4: one step milder */
        {"_dmarc.a.test", "v=DMARC1; p=reject; t=y", "a.test", "quarantine"},
        {"_dmarc.a.test", "p=reject; v=DMARC1", "a.test", "accept"}, /* v= is not first: no record */
        {"_dmarc.a.test", "v=DMARC1; p=nonsense", "a.test", "accept"},
        {"_dmarc.a.test", "!", "a.test", "tempfail"}, /* nothing is known of a policy, and nothing passed: never a guess */
        {"nothing.test", "v=DMARC1; p=reject", "a.test", "accept"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scripted_record zone[] = {{cases[i].record_name, "TXT", cases[i].record}, {"a.test", "A", "192.0.2.9"}, {"sub.a.test", "A", "192.0.2.9"}};
        struct arena *arena = arena_create();
        char header[200];
        snprintf(header, sizeof header, "From: x@%s\r\nAuthentication-Results: mx.here.test; dmarc=pass\r\nAuthentication-Results: other.test; spf=pass\r\n",
                 cases[i].from);
        struct trust_result r = verify(arena, slice_of(header), "x\r\n", zone, 3);
        if (strcmp(trust_disposition_text(r.disposition), cases[i].disposition) != 0)
            print_error("case %zu (%s): %s, %s\n", i, cases[i].record, trust_disposition_text(r.disposition), r.dmarc.reason);
        assert_string_equal(trust_disposition_text(r.disposition), cases[i].disposition);
        assert_int_equal(r.drop_count, 1); /* only the field that claims to be ours (RFC 8601 §5) */
        arena_destroy(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_canonical_as_in_the_rfcs_example),
        cmocka_unit_test(the_value_of_b_goes_and_nothing_else),
        cmocka_unit_test(bodies_hash_alike_however_they_are_cut),
        cmocka_unit_test(tag_lists_are_strict_where_the_rfc_is),
        cmocka_unit_test(what_we_sign_verifies_and_what_was_changed_does_not),
        cmocka_unit_test(keys_decide),
        cmocka_unit_test(signatures_that_are_no_signatures_are_permerrors),
        cmocka_unit_test(a_chain_of_seals_holds_until_one_link_is_broken),
        cmocka_unit_test(policies_apply_to_what_is_not_proven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
