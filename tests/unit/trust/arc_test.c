/* ARC chains (RFC 8617 §4, §5): sealed by us and by a sealer that writes whatever it is told, then
 * validated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "libcommon/trust/arc/arc_private.h"
#include "tests/unit/trust/signing.h"

static const char header[] = "DKIM-Signature: v=1; a=rsa-sha256; d=ann.test; s=s; h=from; bh=AAAA; b=AAAA\r\nFrom: Ann "
                             "<ann@ann.test>\r\nSubject: hello\r\n";
static const char body[] = "one\r\n";

static struct signer rsa, ed;
static struct scripted_record zone[] = {{"r._domainkey.seal.test", "TXT", rsa.record},
                                        {"e._domainkey.seal.test", "TXT", ed.record},
                                        {"strict._domainkey.seal.test", "TXT", NULL},
                                        {"dead._domainkey.seal.test", "TXT", "!"}};
enum { ZONE = sizeof zone / sizeof *zone };
static char strict_record[1200];

static int make_keys(void **state) {
    (void)state;
    rsa = signer_create(false, 1024);
    ed = signer_create(true, 0);
    snprintf(strict_record, sizeof strict_record, "v=DKIM1; t=s; p=%s", rsa.p);
    zone[2].data = strict_record;
    return 0;
}

static int free_keys(void **state) {
    (void)state;
    EVP_PKEY_free(rsa.key);
    EVP_PKEY_free(ed.key);
    return 0;
}

/* One more set of ours on top of *message. */
static int seal(struct buf *message, const struct arc_verdict *verdict, bool ed25519) {
    struct body_digest digest;
    struct buf sealed = {0};
    body_digest_of(slice_of(body), (struct body_hash_kind){true, -1}, &digest);
    int result = arc_seal(buf_slice(message), digest.digest, verdict, SLICE("mx.seal.test"),
                          SLICE("\r\n\tspf=pass smtp.mailfrom=ann.test; dkim=pass"), SLICE("seal.test"),
                          ed25519 ? SLICE("e") : SLICE("r"), ed25519 ? ed.key : rsa.key, SIGNING_NOW, &sealed);
    buf_add_slice(&sealed, buf_slice(message));
    buf_free(message);
    *message = sealed;
    return result;
}

static struct buf chain_of(size_t sets) {
    struct buf message = {0};
    buf_add_str(&message, header);
    for (size_t i = 0; i < sets; i++) {
        struct arena *arena = arena_create();
        struct arc_verdict v = verify_arc(arena, buf_slice(&message), slice_of(body), zone, ZONE);
        assert_int_equal(seal(&message, &v, i % 2), 0);
        arena_destroy(arena);
    }
    return message;
}

static void chains_of_one_to_fifty_sets_pass(void **state) {
    (void)state;
    struct buf message = {0};
    buf_add_str(&message, header);
    for (size_t i = 0; i <= ARC_SETS_MAX; i++) {
        struct arena *arena = arena_create();
        struct arc_verdict v = verify_arc(arena, buf_slice(&message), slice_of(body), zone, ZONE);
        if (v.result == ARC_FAIL) print_error("%zu sets: %s\n", i, v.reason);
        assert_int_equal(v.result, i == 0 ? ARC_NONE : ARC_PASS);
        assert_int_equal(v.sets, i);
        assert_int_equal(v.oldest_pass, 0); /* all message signatures fit */
        if (i) {
            assert_string_equal(v.sealer, "seal.test");
            assert_true(slice_is(v.links[0].domain, "seal.test") && slice_is(v.links[0].selector, "r"));
            assert_true(slice_starts(v.links[i - 1].results, SLICE("mx.seal.test;")));
        }
        assert_int_equal(seal(&message, &v, i % 2), i < ARC_SETS_MAX ? 0 : -1); /* §4.2.1: the 51st has no place */
        arena_destroy(arena);
    }
    buf_free(&message);
}

static void our_fields_are_folded(void **state) {
    (void)state;
    struct buf message = chain_of(2);
    for (struct slice rest = buf_slice(&message), line; slice_cut(&rest, '\n', &line);) assert_true(line.n <= 79);
    buf_free(&message);
}

/* Replaces the first `from` behind `after` (NULL: from the start). */
static void replace(struct buf *b, const char *after, const char *from, const char *to) {
    char *start = after ? strstr(b->data, after) : b->data;
    assert_non_null(start);
    char *at = strstr(start, from);
    assert_non_null(at);
    struct buf out = {0};
    buf_add(&out, b->data, (size_t)(at - b->data));
    buf_add_str(&out, to);
    buf_add_str(&out, at + strlen(from));
    buf_free(b);
    *b = out;
}

/* What breaks a chain of two sets: the reason must be of the rule, not of a signature that happens
 * not to fit. */
static void a_chain_that_was_tampered_with_fails(void **state) {
    static const struct {
        const char *rule, *after, *from, *to, *reason;
    } rows[] = {
        {"§5.2 step 4: a signed field changed", NULL, "Subject: hello", "Subject: help", "newest message signature"},
        {"§5.2 step 6: older results changed", "Results: i=1", "dkim=pass", "dkim=fail", "a seal does not fit"},
        {"§5.2 step 6: newest results changed", "Results: i=2", "dkim=pass", "dkim=fail", "a seal does not fit"},
        {"§5.2 step 3.A: no results", NULL, "ARC-Authentication-Results: i=1", "X-Was: i=1", "not whole"},
        {"§5.2 step 3.A: no message signature", NULL, "ARC-Message-Signature: i=1", "X-Was: i=1", "not whole"},
        {"§5.2 step 3.A: no seal", NULL, "ARC-Seal: i=1", "X-Was: i=1", "not whole"},
        {"§5.2 step 3.B: a gap", NULL, "ARC-Authentication-Results: i=2", "ARC-Authentication-Results: i=3",
         "not whole"},
        {"§5.2 step 3.A: one twice", NULL, "ARC-Authentication-Results: i=2",
         "ARC-Authentication-Results: i=1; x\r\nARC-Authentication-Results: i=2", "twice"},
        {"§4.2.1: instance 0", NULL, "ARC-Authentication-Results: i=2", "ARC-Authentication-Results: i=0",
         "no instance"},
        {"§4.2.1: no instance", NULL, "ARC-Authentication-Results: i=2;",
         "ARC-Authentication-Results: ", "no instance"},
        {"§4.2.1: instance of a seal is no number", NULL, "ARC-Seal: i=2", "ARC-Seal: i=two", "instance"},
        {"§4.2.1: instance 51", NULL, "ARC-Authentication-Results: i=2", "ARC-Authentication-Results: i=51",
         "more than 50"},
        {"§5.2 step 3.C: cv=none on i=2", "ARC-Seal: i=2", "cv=pass", "cv=none", "later seal"},
        {"§5.2 step 3.C: cv=pass on i=1", "ARC-Seal: i=1", "cv=none", "cv=pass", "first seal"},
        {"§5.2 step 3.C: cv=fail on i=1", "ARC-Seal: i=1", "cv=none", "cv=fail", "first seal"},
        {"§5.2 step 2: cv=fail on the newest", "ARC-Seal: i=2", "cv=pass", "cv=fail", "failed before"},
        {"§4.1.3: cv= of no known word", "ARC-Seal: i=2", "cv=pass", "cv=good", "cv="},
        {"§4.1.3: no cv=", "ARC-Seal: i=2", "cv=pass;", "", "cv="},
        {"§4.1.3: h= in a seal", "ARC-Seal: i=2", "cv=pass;", "cv=pass; h=from;", "no h="},
        {"§4.1.2: From is not signed", "ARC-Message-Signature: i=2", "h=From:", "h=", "From"},
        {"§4.1.2: the message signature covers seals", "ARC-Message-Signature: i=2",
         "h=From:", "h=From:ARC-Seal:", "ARC-Seal"},
        {"§4.1.3: an old algorithm", "ARC-Seal: i=1", "a=rsa-sha256", "a=rsa-sha1", "rsa-sha1"},
        {"§4.1.2: a malformed signature", "ARC-Message-Signature: i=1", "d=seal.test", "d=", "missing"},
        {"§5.2.1: no key", "ARC-Seal: i=1", "s=r;", "s=none;", "no key"},
        {"§5.2.1: DNS gives no answer", "ARC-Seal: i=1", "s=r;", "s=dead;", "DNS gave no answer"},
        {"§5.2.1: DNS gives no answer for the newest", "ARC-Message-Signature: i=2", "s=e;", "s=dead;",
         "DNS gave no answer"},
        {"§4.1.2: the newest has expired", "ARC-Message-Signature: i=2", "t=1795513277;", "t=1795513270; x=1795513271;",
         "expired"},
    };
    size_t failures = 0;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *arena = arena_create();
        struct buf message = chain_of(2);
        replace(&message, rows[i].after, rows[i].from, rows[i].to);
        struct arc_verdict v = verify_arc(arena, buf_slice(&message), slice_of(body), zone, ZONE);
        if (v.result != ARC_FAIL || !strstr(v.reason, rows[i].reason)) {
            print_error("%s: %s: %s\n", rows[i].rule, arc_result_text(v.result), v.reason);
            failures++;
        }
        buf_free(&message);
        arena_destroy(arena);
    }
    assert_int_equal(failures, 0);
}

/* A first set by another sealer: its message signature has these tags, and was made as the tags
 * `made` say. */
static void add_foreign_set(struct buf *message, const char *tags, const char *made) {
    struct arena *arena = arena_create();
    struct arc_chain *chain = arena_alloc(arena, sizeof *chain);
    struct arc_sealed sealed;
    struct buf ams = {0}, all = {0}, data = {0}, b64 = {0};
    sign_as(rsa.key, "ARC-Message-Signature", tags, made, buf_slice(message), slice_of(body), &ams);
    buf_printf(&all, "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=seal.test; s=r; b=AAAA\r\n%s%s%s", buf_str(&ams),
               "ARC-Authentication-Results: i=1; mx.seal.test; dmarc=pass header.from=ann.test\r\n", buf_str(message));
    arc_collect(arena, buf_slice(&all), chain);
    arc_sealed_make(chain->sets, 1, &sealed);
    arc_sealed_data(&sealed, chain->sets, 1, &data);
    dkim_sign_bytes(rsa.key, buf_slice(&data), &b64);
    replace(&all, "ARC-Seal", "b=AAAA", "b=");
    replace(&all, "ARC-Seal", "b=", "b=%"); /* where the signature goes */
    struct buf whole = {0};
    char *place = strchr(all.data, '%');
    buf_add(&whole, all.data, (size_t)(place - all.data));
    buf_add_slice(&whole, buf_slice(&b64));
    buf_add_str(&whole, place + 1);
    buf_free(message);
    *message = whole;
    buf_free(&sealed.text);
    buf_free(&ams);
    buf_free(&all);
    buf_free(&data);
    buf_free(&b64);
    arena_destroy(arena);
}

static void message_signatures_of_other_sealers(void **state) {
#define TAGS "i=1; a=rsa-sha256; d=seal.test; s=r; t=1795513277; "
    static const struct {
        const char *rule, *tags, *made;
        enum arc_result result;
    } rows[] = {
        {"relaxed/relaxed", TAGS "c=relaxed/relaxed; h=From:Subject;", TAGS "c=relaxed/relaxed; h=From:Subject;",
         ARC_PASS},
        {"RFC 6376 §3.5: no c= is simple/simple", TAGS "h=From:Subject;", TAGS "h=From:Subject;", ARC_PASS},
        {"the drafts: no c= is relaxed/relaxed", TAGS "h=From:Subject;", TAGS "c=relaxed/relaxed; h=From:Subject;",
         ARC_PASS},
        {"no c=, header relaxed, body simple", TAGS "h=From:Subject;", TAGS "c=relaxed/simple; h=From:Subject;",
         ARC_PASS},
        {"c= says simple, made relaxed", TAGS "c=simple/simple; h=From:Subject;",
         TAGS "c=relaxed/relaxed; h=From:Subject;", ARC_FAIL},
        {"the public ARC test suite: h= is empty", TAGS "c=relaxed/relaxed; h=;", TAGS "c=relaxed/relaxed; h=;",
         ARC_PASS},
        {"RFC 6376 §3.5: no h=", TAGS "c=relaxed/relaxed;", TAGS "c=relaxed/relaxed;", ARC_FAIL},
        {"RFC 6376 §6.1.1: h= without From", TAGS "c=relaxed/relaxed; h=Subject;", TAGS "c=relaxed/relaxed; h=Subject;",
         ARC_FAIL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *arena = arena_create();
        struct buf message = {0};
        buf_add_str(&message, header);
        add_foreign_set(&message, rows[i].tags, rows[i].made);
        struct arc_verdict v = verify_arc(arena, buf_slice(&message), slice_of(body), zone, ZONE);
        if (v.result != rows[i].result) print_error("%s: %s: %s\n", rows[i].rule, arc_result_text(v.result), v.reason);
        assert_int_equal(v.result, rows[i].result);
        buf_free(&message);
        arena_destroy(arena);
    }
}

static void what_means_nothing_to_a_chain_changes_nothing(void **state) {
    static const struct {
        const char *rule, *added;
    } rows[] = {
        {"trace fields on top", "Received: from x by y\r\nAuthentication-Results: mx; arc=pass\r\n"},
        {"§4.1: fields of other names", "ARC-Sealed: i=9\r\nX-ARC-Seal: i=9\r\n"},
        {"a second DKIM signature", "DKIM-Signature: v=1; d=other.test\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *arena = arena_create();
        struct buf chain = chain_of(2), message = {0};
        buf_printf(&message, "%s%s", rows[i].added, buf_str(&chain));
        struct arc_verdict v = verify_arc(arena, buf_slice(&message), slice_of(body), zone, ZONE);
        if (v.result != ARC_PASS) print_error("%s: %s\n", rows[i].rule, v.reason);
        assert_int_equal(v.result, ARC_PASS);
        buf_free(&chain);
        buf_free(&message);
        arena_destroy(arena);
    }
}

/* §5.2 step 5: a hop that changed the message breaks older message signatures, not the chain. */
static void the_oldest_message_signature_that_fits_is_told(void **state) {
    struct buf message = chain_of(2);
    (void)state;
    replace(&message, NULL, "Subject: hello", "Subject: [list] hello");
    struct arena *arena = arena_create();
    struct arc_verdict v = verify_arc(arena, buf_slice(&message), slice_of(body), zone, ZONE);
    assert_int_equal(v.result, ARC_FAIL);
    /* a list that validated the chain before it changed the subject */
    v.result = ARC_PASS;
    for (size_t i = 2; i < 4; i++) {
        assert_int_equal(seal(&message, &v, false), 0);
        v = verify_arc(arena, buf_slice(&message), slice_of(body), zone, ZONE);
        assert_int_equal(v.result, ARC_PASS);
        assert_int_equal(v.sets, i + 1);
        assert_int_equal(v.oldest_pass, 3);
    }
    buf_free(&message);
    arena_destroy(arena);
}

/* §5.1.2: a chain that failed is sealed once more, with cv=fail over the own set alone; then it has
 * ended. */
static void a_failed_chain_is_sealed_once_and_never_again(void **state) {
    struct arena *arena = arena_create();
    struct buf message = chain_of(3);
    (void)state;
    replace(&message, NULL, "Subject: hello", "Subject: help");
    struct arc_verdict v = verify_arc(arena, buf_slice(&message), slice_of(body), zone, ZONE);
    assert_int_equal(v.result, ARC_FAIL);
    assert_int_equal(seal(&message, &v, false), 0);
    assert_non_null(strstr(message.data, "ARC-Seal: i=4;"));
    assert_non_null(strstr(message.data, "cv=fail;"));
    struct arc_chain *chain = arena_alloc(arena, sizeof *chain);
    struct arc_sealed sealed;
    struct buf data = {0};
    arc_collect(arena, buf_slice(&message), chain);
    assert_true(chain->ended && chain->count == 4);
    arc_sealed_make(&chain->sets[3], 1, &sealed); /* the seal fits the fourth set by itself */
    arc_sealed_data(&sealed, &chain->sets[3], 1, &data);
    struct dkim_key key = {.key = rsa.key};
    assert_true(dkim_signature_fits(&chain->sets[3].as, &key, buf_slice(&data)));
    v = verify_arc(arena, buf_slice(&message), slice_of(body), zone, ZONE);
    assert_int_equal(v.result, ARC_FAIL);
    assert_true(v.ended);
    assert_int_equal(v.sets, 4);
    size_t before = message.n;
    assert_int_equal(seal(&message, &v, false), -1);
    assert_int_equal(message.n, before);
    buf_free(&sealed.text);
    buf_free(&data);
    buf_free(&message);
    arena_destroy(arena);
}

/* A chain whose structure is wrong is sealed above the highest instance that is there. */
static void a_malformed_chain_is_sealed_above_its_highest_instance(void **state) {
    struct arena *arena = arena_create();
    struct buf message = {0};
    (void)state;
    buf_printf(&message,
               "ARC-Seal: i=7; nonsense\r\nARC-Authentication-Results: i=5; x; none\r\nARC-Seal: garbage\r\n%s",
               header);
    struct arc_verdict v = verify_arc(arena, buf_slice(&message), slice_of(body), zone, ZONE);
    assert_int_equal(v.result, ARC_FAIL);
    assert_int_equal(v.sets, 5);
    assert_false(v.ended);
    assert_null(v.links);
    assert_int_equal(seal(&message, &v, false), 0);
    assert_non_null(strstr(message.data, "ARC-Seal: i=6;"));
    buf_free(&message);
    arena_destroy(arena);
}

static void the_instance_of_results_is_found_among_comments(void **state) {
    static const struct {
        const char *field;
        size_t sets;
    } rows[] = {
        {"ARC-Authentication-Results: i=3; x; none\r\n", 3},
        {"ARC-Authentication-Results:i=3;x\r\n", 3},
        {"ARC-Authentication-Results: (a (b) \\) c) i (x) =\r\n (y) 03 (z) ; x\r\n", 3},
        {"ARC-Authentication-Results: I=3; x\r\n", 0},    /* %s"i" */
        {"ARC-Authentication-Results: i=3\r\n", 0},       /* no semicolon */
        {"ARC-Authentication-Results: i=003; x\r\n", 0},  /* 1*2DIGIT */
        {"ARC-Authentication-Results: x; i=3; y\r\n", 0}, /* first of all */
        {"ARC-Authentication-Results: (i=3; x\r\n", 0},   /* a comment without end */
        {"ARC-Authentication-Results: i=-3; x\r\n", 0},
        {"ARC-Authentication-Results:\r\n", 0},
        {"ARC-Authentication-Results: (\\\r\n", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *arena = arena_create();
        struct arc_chain *chain = arena_alloc(arena, sizeof *chain);
        assert_non_null(arc_collect(arena, slice_of(rows[i].field), chain));
        if (chain->count != rows[i].sets) print_error("%s", rows[i].field);
        assert_int_equal(chain->count, rows[i].sets);
        arena_destroy(arena);
    }
}

/* A key's t=s is about DKIM's i=, which ARC uses for something else. */
static void a_strict_key_seals(void **state) {
    struct arena *arena = arena_create();
    struct body_digest digest;
    struct buf message = {0};
    struct arc_verdict none = {.result = ARC_NONE};
    (void)state;
    body_digest_of(slice_of(body), (struct body_hash_kind){true, -1}, &digest);
    assert_int_equal(arc_seal(slice_of(header), digest.digest, &none, SLICE("mx.seal.test"), SLICE(" none"),
                              SLICE("seal.test"), SLICE("strict"), rsa.key, SIGNING_NOW, &message),
                     0);
    buf_add_str(&message, header);
    struct arc_verdict v = verify_arc(arena, buf_slice(&message), slice_of(body), zone, ZONE);
    assert_int_equal(v.result, ARC_PASS);
    buf_free(&message);
    arena_destroy(arena);
}

static void the_steps_tell_what_was_compared(void **state) {
    struct arena *arena = arena_create();
    struct buf message = chain_of(2), all = {0};
    (void)state;
    struct arc_verdict v = verify_arc(arena, buf_slice(&message), slice_of(body), zone, ZONE);
    for (size_t i = 0; i < v.step_count; i++) buf_printf(&all, "%s\n", v.steps[i]);
    static const char *const wanted[] = {"i=2: ARC-Message-Signature of d=seal.test",
                                         "the same",
                                         "TXT r._domainkey.seal.test",
                                         "TXT e._domainkey.seal.test",
                                         "ed25519, 256 bits",
                                         "rsa, 1024 bits",
                                         "i=1: ARC-Seal of d=seal.test, cv=none",
                                         "is of this hash by this key"};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!strstr(buf_str(&all), wanted[i])) fail_msg("no \"%s\" in\n%s", wanted[i], buf_str(&all));
    buf_free(&all);
    buf_free(&message);
    arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_of_one_to_fifty_sets_pass),
        cmocka_unit_test(message_signatures_of_other_sealers),
        cmocka_unit_test(our_fields_are_folded),
        cmocka_unit_test(a_chain_that_was_tampered_with_fails),
        cmocka_unit_test(what_means_nothing_to_a_chain_changes_nothing),
        cmocka_unit_test(the_oldest_message_signature_that_fits_is_told),
        cmocka_unit_test(a_failed_chain_is_sealed_once_and_never_again),
        cmocka_unit_test(a_malformed_chain_is_sealed_above_its_highest_instance),
        cmocka_unit_test(the_instance_of_results_is_found_among_comments),
        cmocka_unit_test(a_strict_key_seals),
        cmocka_unit_test(the_steps_tell_what_was_compared),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
