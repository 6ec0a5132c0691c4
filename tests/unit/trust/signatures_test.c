/* All proofs of a message together: signatures that hold and that do not, seals, and the policy
 * that follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/trust/tags.h"
#include "libcommon/trust/verdict/trust.h"
#include "tests/unit/trust/signing.h"
#include <cmocka.h>

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

static const char header_text[] = "From: Ann <ann@signer.test>\r\nTo: bob@here.test\r\nSubject: folded\r\n  "
                                  "subject\r\nDate: Tue, 24 Nov 2026 10:00:00 "
                                  "+0000\r\nMessage-ID: <1@signer.test>\r\n";
static const char body_text[] = "Hello  Bob \r\n\r\nbye\r\n\r\n";
static const int64_t now = SIGNING_NOW;

/* Runs trust_verify on a message until DNS has said everything. */
static struct trust_result verify(struct arena *arena, struct slice header, const char *body,
                                  const struct scripted_record *records, size_t count) {
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
    assert_int_equal(
        dkim_sign(slice_of(header_text), digest, SLICE("signer.test"), slice_of(selector), s->key, now, &signature), 0);
    for (struct slice rest = buf_slice(&signature), line; slice_cut(&rest, '\n', &line);)
        assert_true(line.n <= 79); /* RFC 5322 §2.1.1 */
    buf_add_str(&signature, header_text);
    return signature;
}

static void what_we_sign_verifies_and_what_was_changed_does_not(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct signer s = signer_create(kind == 1, 2048);
        struct scripted_record zone[] = {{"sel._domainkey.signer.test", "TXT", s.record},
                                         {"_dmarc.signer.test", "TXT", "v=DMARC1; p=reject"},
                                         {"signer.test", "TXT", "v=spf1 -all"}};
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
        assert_int_equal(verify(arena, buf_slice(&header), "Hello Bob\r\n\r\nbye\r\n", zone, 3).dkim[0].result,
                         DKIM_PASS); /* relaxed */
        struct buf second = {0};     /* a second From: over-signed, so it breaks the signature */
        buf_add_slice(&second, buf_slice(&header));
        buf_add_str(&second, "Subject: another\r\n");
        assert_int_equal(verify(arena, buf_slice(&second), body_text, zone, 3).dkim[0].result, DKIM_FAIL);
        buf_free(&second);
        buf_free(&header);
        arena_destroy(arena);
        EVP_PKEY_free(s.key);
    }
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
        assert_int_equal(arc_seal(buf_slice(&header), digest, &before.arc, SLICE("mx.signer.test"), SLICE(" spf=pass"),
                                  SLICE("signer.test"), SLICE("arc"), s.key, now, &sealed),
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
        {"_dmarc.a.test", "v=DMARC1; p=none; sp=none; np=reject", "nx.a.test",
         "reject"}, /* DMARCbis: a name that does not exist */
        {"_dmarc.a.test", "v=DMARC1; p=reject; pct=0", "a.test", "quarantine"}, /* RFC 7489 §6.6.4: one step milder */
        {"_dmarc.a.test", "v=DMARC1; p=reject; t=y", "a.test", "quarantine"},
        {"_dmarc.a.test", "p=reject; v=DMARC1", "a.test", "accept"}, /* v= is not first: no record */
        {"_dmarc.a.test", "v=DMARC1; p=nonsense", "a.test", "accept"},
        {"_dmarc.a.test", "!", "a.test",
         "tempfail"}, /* nothing is known of a policy, and nothing passed: never a guess */
        {"nothing.test", "v=DMARC1; p=reject", "a.test", "accept"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scripted_record zone[] = {{cases[i].record_name, "TXT", cases[i].record},
                                         {"a.test", "A", "192.0.2.9"},
                                         {"sub.a.test", "A", "192.0.2.9"}};
        struct arena *arena = arena_create();
        char header[200];
        snprintf(header, sizeof header,
                 "From: x@%s\r\nAuthentication-Results: mx.here.test; dmarc=pass\r\nAuthentication-Results: "
                 "other.test; spf=pass\r\n",
                 cases[i].from);
        struct trust_result r = verify(arena, slice_of(header), "x\r\n", zone, 3);
        if (strcmp(trust_disposition_text(r.disposition), cases[i].disposition) != 0)
            print_error("case %zu (%s): %s, %s\n", i, cases[i].record, trust_disposition_text(r.disposition),
                        r.dmarc.reason);
        assert_string_equal(trust_disposition_text(r.disposition), cases[i].disposition);
        assert_int_equal(r.drop_count, 1); /* only the field that claims to be ours (RFC 8601 §5) */
        arena_destroy(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tag_lists_are_strict_where_the_rfc_is),
        cmocka_unit_test(what_we_sign_verifies_and_what_was_changed_does_not),
        cmocka_unit_test(a_chain_of_seals_holds_until_one_link_is_broken),
        cmocka_unit_test(policies_apply_to_what_is_not_proven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
