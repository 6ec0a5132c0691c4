/* Messages made to cost much: which of too many signatures are verified, and that time grows with
 * the bytes of the message and with nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/trust/signing.h"

static const char header[] = "From: Ann <ann@signer.test>\r\nSubject: hello\r\n";
static const char body[] = "one\r\n";
static const char tags[] = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=signer.test; s=sel; h=from:subject;";

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of a well-formed signature by d that is good for nothing. */
static void add_junk(struct buf *out, const char *d, int n) {
    for (int i = 0; i < n; i++)
        buf_printf(out,
                   "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s; s=s%d; h=from; bh=AAAA; b=AAAA\r\n", d,
                   i);
}

static void the_authors_signature_is_verified_among_a_thousand(void **state) {
    static const struct {
        const char *rule, *d, *from;
        size_t pass;
    } rows[] = {
        {"strangers on top", "stranger.test", "From: Ann <ann@signer.test>\r\nSubject: hello\r\n", 1},
        {"malformed ones on top", "-", "From: Ann <ann@signer.test>\r\nSubject: hello\r\n", 1},
        {"the author is below the signer's domain", "stranger.test",
         "From: Ann <ann@mail.signer.test>\r\nSubject: hello\r\n", 1},
        {"From in capitals", "stranger.test", "From: ANN@SIGNER.TEST\r\nSubject: hello\r\n", 1},
        {"the name looks like a stranger", "stranger.test",
         "From: \"x@stranger.test\" <ann@signer.test>\r\nSubject: hello\r\n", 0}, /* only the forger's own mail */
        {"in the author's name", "signer.test", "From: Ann <ann@signer.test>\r\nSubject: hello\r\n",
         0}, /* nothing tells them apart before the key */
    };
    struct signer s = signer_create(false, 1024);
    struct scripted_record zone[] = {{"sel._domainkey.signer.test", "TXT", s.record}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *arena = arena_create();
        struct buf message = {0};
        struct dkim_verdict *v;
        size_t passed = 0;
        add_junk(&message, rows[i].d, 1000);
        sign_with(s.key, "DKIM-Signature", tags, slice_of(rows[i].from), slice_of(body), &message);
        buf_add_str(&message, rows[i].from);
        double start = seconds();
        size_t n = verify_dkim(arena, buf_slice(&message), slice_of(body), zone, 1, &v);
        assert_true(seconds() - start < 2); /* some milliseconds without sanitizers */
        assert_int_equal(n, SIGNATURES_MAX);
        for (size_t k = 0; k < n; k++) passed += v[k].result == DKIM_PASS;
        if (passed != rows[i].pass) print_error("%s: %zu passed\n", rows[i].rule, passed);
        assert_int_equal(passed, rows[i].pass);
        for (size_t k = 1; k < n; k++)
            assert_true(v[k - 1].signature.h.p < v[k].signature.h.p || !v[k].signature.h.p); /* as they stand */
        buf_free(&message);
        arena_destroy(arena);
    }
    EVP_PKEY_free(s.key);
}

/* A signature that asks for yet another body hash is not failed, only not taken. */
static void body_hashes_beyond_the_bound_are_policy(void **state) {
    struct arena *arena = arena_create();
    struct buf message = {0};
    struct dkim_verdict *v;
    size_t policy = 0;
    (void)state;
    for (int i = 0; i < 15; i++)
        buf_printf(&message,
                   "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=signer.test; s=s%d; h=from; l=%d; bh=AAAA; "
                   "b=AAAA\r\n",
                   i, i);
    buf_add_str(&message, header);
    assert_int_equal(verify_dkim(arena, buf_slice(&message), slice_of(body), NULL, 0, &v), 15);
    for (int i = 0; i < 15; i++) policy += v[i].result == DKIM_POLICY;
    assert_int_equal(policy, 15 - BODY_HASHES_MAX);
    buf_free(&message);
    arena_destroy(arena);
}

/* ARC's newest message signature is hashed for, however many signatures stand above it. */
static void the_newest_seal_has_its_body_hash(void **state) {
    struct buf message = {0};
    struct body_hash_kind kinds[BODY_HASHES_MAX];
    (void)state;
    for (int i = 0; i < 15; i++)
        buf_printf(&message, "DKIM-Signature: v=1; a=rsa-sha256; d=signer.test; s=s; h=from; l=%d; bh=AAAA; b=AAAA\r\n",
                   i);
    buf_add_str(&message, "ARC-Message-Signature: i=1; a=rsa-sha256; d=a.test; s=s; h=from; l=91; bh=AAAA; b=AAAA\r\n");
    buf_add_str(&message, "ARC-Message-Signature: i=2; a=rsa-sha256; c=relaxed/relaxed; d=a.test; s=s; h=from; l=92; "
                          "bh=AAAA; b=AAAA\r\n");
    assert_int_equal(body_hash_wanted(buf_slice(&message), kinds), BODY_HASHES_MAX);
    assert_int_equal(kinds[0].length, 92);
    assert_true(kinds[0].relaxed);
    buf_free(&message);
}

/* What a header of so many fields and an h= of so many names cost. */
static double cost_of(size_t fields, size_t names, bool same_name) {
    struct buf text = {0}, h = {0}, out = {0};
    struct header_coverage coverage;
    for (size_t i = 0; i < fields; i++) buf_printf(&text, "X-%zu: v\r\n", same_name ? 0 : i);
    for (size_t i = 0; i < names; i++) buf_printf(&h, "%sX-%zu", i ? ":" : "", same_name ? 0 : i);
    double start = seconds();
    struct header_index *index = header_index_create(buf_slice(&text));
    dkim_signed_header(index, buf_slice(&h), true, SLICE("DKIM-Signature: b=x\r\n"), &out, &coverage);
    header_index_destroy(index);
    double took = seconds() - start;
    assert_int_equal(coverage.present, fields < names ? fields : names);
    assert_int_equal(coverage.present + coverage.absent, names);
    buf_free(&text);
    buf_free(&h);
    buf_free(&out);
    return took;
}

static void a_megabyte_of_header_costs_no_more_than_its_bytes(void **state) {
    (void)state;
    for (int same = 0; same < 2; same++) {
        cost_of(1000, 1000, same); /* warm */
        double small = cost_of(10000, 10000, same), large = cost_of(100000, 100000, same);
        if (large > 40 * small + 0.1)
            print_error("10 times the fields cost %.1f times the time (%.3f s)\n", large / small, large);
        assert_true(large < 40 * small + 0.1); /* a square would be 100 times */
        assert_true(large < 3);
        assert_true(cost_of(10, 100000, same) < 2);
    }
}

static void a_message_of_many_signatures_and_long_lists_is_judged_in_time(void **state) {
    struct signer s = signer_create(false, 2048);
    struct scripted_record zone[] = {{"sel._domainkey.signer.test", "TXT", s.record}};
    struct arena *arena = arena_create();
    struct buf message = {0}, h = {0}, fields = {0};
    struct dkim_verdict *v;
    (void)state;
    buf_add_str(&h, "from");
    for (int i = 0; i < 1000; i++) buf_printf(&h, ":x-%d", i);
    for (int i = 0; i < 10000; i++) buf_printf(&fields, "X-%d: some value of a field\r\n", i);
    buf_add_str(&fields, header);
    char *own = NULL;
    assert_true(asprintf(&own, "v=1; a=rsa-sha256; c=relaxed/relaxed; d=signer.test; s=sel; h=%s;", buf_str(&h)) > 0);
    for (int i = 0; i < 20; i++) sign_with(s.key, "DKIM-Signature", own, buf_slice(&fields), slice_of(body), &message);
    buf_add_slice(&message, buf_slice(&fields));
    double start = seconds();
    assert_int_equal(verify_dkim(arena, buf_slice(&message), slice_of(body), zone, 1, &v), SIGNATURES_MAX);
    double took = seconds() - start;
    for (int i = 0; i < 20; i++) assert_int_equal(v[i].result, DKIM_PASS);
    assert_true(took < 3);
    free(own);
    buf_free(&message);
    buf_free(&h);
    buf_free(&fields);
    arena_destroy(arena);
    EVP_PKEY_free(s.key);
}

/* While another proof waits for DNS nothing is computed, but the keys are asked for. */
static void nothing_is_computed_before_the_last_round(void **state) {
    struct signer s = signer_create(false, 1024);
    struct scripted_record zone[] = {{"sel._domainkey.signer.test", "TXT", s.record}};
    struct arena *arena = arena_create();
    struct scripted_dns script = {.records = zone, .count = 1, .arena = arena};
    struct trust_dns dns = {scripted_lookup, &script};
    struct buf message = {0};
    struct body_digest digests[BODY_HASHES_MAX];
    struct dkim_verdict *v;
    size_t n;
    (void)state;
    sign_with(s.key, "DKIM-Signature", tags, slice_of(header), slice_of(body), &message);
    buf_add_str(&message, header);
    struct dkim_message m = {.header = buf_slice(&message), .digests = digests, .now = SIGNING_NOW, .ask_only = true};
    m.digest_count = body_digests_of(m.header, slice_of(body), digests);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(dkim_verify(arena, &m, &dns, NULL, &n, &v), TRUST_PENDING);
        assert_int_not_equal(v->result, DKIM_PASS);
        assert_non_null(v->reason);
    }
    assert_int_equal(script.questions, 1);
    m.ask_only = false;
    assert_int_equal(dkim_verify(arena, &m, &dns, NULL, &n, &v), TRUST_DONE);
    assert_int_equal(v->result, DKIM_PASS);
    buf_free(&message);
    arena_destroy(arena);
    EVP_PKEY_free(s.key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_authors_signature_is_verified_among_a_thousand),
        cmocka_unit_test(body_hashes_beyond_the_bound_are_policy),
        cmocka_unit_test(the_newest_seal_has_its_body_hash),
        cmocka_unit_test(a_megabyte_of_header_costs_no_more_than_its_bytes),
        cmocka_unit_test(a_message_of_many_signatures_and_long_lists_is_judged_in_time),
        cmocka_unit_test(nothing_is_computed_before_the_last_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
