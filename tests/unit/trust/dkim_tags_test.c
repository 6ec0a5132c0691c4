/* Every tag of a DKIM-Signature (RFC 6376 §3.5, §6.1.1, RFC 8301, RFC 8616): each row is a message
 * signed with these tags by a signer that signs whatever it is told, and what a verifier has to say
 * of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/trust/signing.h"

static const char header[] =
    "From: Ann <ann@signer.test>\r\nTo: bob@here.test\r\nSubject: hello\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n";
static const char body[] = "one\r\ntwo\r\n";

struct tags_case {
    const char *rule, *tags, *result, *reason; /* tags: without bh= and b=; reason: what it must
                                                  say; NULL: anything */
};

static const struct tags_case cases[] = {
    /* v= */
    {"§3.5 v=: 1 is the version", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from;", "pass", NULL},
    {"§6.1.1: another version is no signature", "v=2; a=rsa-sha256; d=signer.test; s=sel; h=from;", "permerror",
     "v= is not 1"},
    {"§3.5 v=: compared as a string, not a number", "v=01; a=rsa-sha256; d=signer.test; s=sel; h=from;", "permerror",
     "v= is not 1"},
    {"§3.5 v=: is required", "a=rsa-sha256; d=signer.test; s=sel; h=from;", "permerror", "v= is not 1"},
    {"§3.2: order of tags means nothing", "h=from; s=sel; d=signer.test; a=rsa-sha256; v=1;", "pass", NULL},
    /* a= */
    {"RFC 8301 §3.1: rsa-sha1 is no signature any more", "v=1; a=rsa-sha1; d=signer.test; s=sel; h=from;", "permerror",
     "rsa-sha1"},
    {"§3.5 a=: an unknown algorithm", "v=1; a=rot13-sha256; d=signer.test; s=sel; h=from;", "permerror", "algorithm"},
    {"§3.5 a=: rsa with an unknown hash", "v=1; a=rsa-sha512; d=signer.test; s=sel; h=from;", "permerror", "algorithm"},
    {"§3.5 a=: is required", "v=1; d=signer.test; s=sel; h=from;", "permerror", "missing"},
    {"RFC 8463: the key is rsa, the signature says ed25519", "v=1; a=ed25519-sha256; d=signer.test; s=sel; h=from;",
     "permerror", "another algorithm"},
    /* c= */
    {"§3.5 c=: none is simple/simple", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from;", "pass", NULL},
    {"§3.5 c=: relaxed/relaxed", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=signer.test; s=sel; h=from;", "pass", NULL},
    {"§3.5 c=: relaxed/simple", "v=1; a=rsa-sha256; c=relaxed/simple; d=signer.test; s=sel; h=from;", "pass", NULL},
    {"§3.5 c=: simple/relaxed", "v=1; a=rsa-sha256; c=simple/relaxed; d=signer.test; s=sel; h=from;", "pass", NULL},
    {"§3.5 c=: one word is the header's, the body's is simple",
     "v=1; a=rsa-sha256; c=relaxed; d=signer.test; s=sel; h=from;", "pass", NULL},
    {"RFC 5234 §2.3: literal words have no case", "v=1; a=RSA-SHA256; c=Relaxed/RELAXED; d=signer.test; s=sel; h=from;",
     "pass", NULL},
    {"§3.5 c=: nowsp is historic", "v=1; a=rsa-sha256; c=nowsp; d=signer.test; s=sel; h=from;", "permerror",
     "canonicalization"},
    {"§3.5 c=: an unknown body canonicalization", "v=1; a=rsa-sha256; c=relaxed/nofws; d=signer.test; s=sel; h=from;",
     "permerror", "canonicalization"},
    {"§3.5 c=: empty", "v=1; a=rsa-sha256; c=; d=signer.test; s=sel; h=from;", "permerror", "canonicalization"},
    /* d= and s= */
    {"§3.5 d=: is required", "v=1; a=rsa-sha256; s=sel; h=from;", "permerror", "missing"},
    {"§3.5 s=: is required", "v=1; a=rsa-sha256; d=signer.test; h=from;", "permerror", "missing"},
    {"§3.5 d=: no domain name", "v=1; a=rsa-sha256; d=signer..test; s=sel; h=from;", "permerror", "domain name"},
    {"§3.5 d=: an address is none", "v=1; a=rsa-sha256; d=ann@signer.test; s=sel; h=from;", "permerror", "domain name"},
    {"§3.5 d=: white space inside", "v=1; a=rsa-sha256; d=signer. test; s=sel; h=from;", "permerror", "domain name"},
    {"§3.5 d=: case means nothing in DNS", "v=1; a=rsa-sha256; d=SIGNER.Test; s=SEL; h=from;", "pass", NULL},
    {"§3.1: a selector of several labels", "v=1; a=rsa-sha256; d=signer.test; s=march.2026; h=from;", "pass", NULL},
    {"§3.1: underscores are seen in selectors", "v=1; a=rsa-sha256; d=signer.test; s=key_1; h=from;", "pass", NULL},
    {"§3.5 s=: empty label", "v=1; a=rsa-sha256; d=signer.test; s=a..b; h=from;", "permerror", "selector"},
    {"RFC 8616 §4: U-labels are looked up as A-labels",
     "v=1; a=rsa-sha256; d=b\xc3\xbc"
     "cher.test; s=sch\xc3\xb6n; h=from;",
     "pass", NULL},
    {"RFC 8616 §4: bytes that are no UTF-8 are no domain",
     "v=1; a=rsa-sha256; d=b\xfc"
     "cher.test; s=sel; h=from;",
     "permerror", "domain name"},
    {"RFC 1035 §2.3.4: the key's name is too long",
     "v=1; a=rsa-sha256; d=signer.test; "
     "s=a23456789012345678901234567890123456789012345678901234567890."
     "a23456789012345678901234567890123456789012345678901234567890."
     "a23456789012345678901234567890123456789012345678901234567890."
     "a23456789012345678901234567890123456789012345678901234567890; h=from;",
     "permerror", "too long"},
    /* h= */
    {"§5.4: From must be signed", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=to:subject;", "permerror", "From"},
    {"§3.5 h=: is required", "v=1; a=rsa-sha256; d=signer.test; s=sel;", "permerror", "missing"},
    {"§3.5 h=: is not empty", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=;", "permerror", "missing"},
    {"§3.5 h=: names have no case", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=FROM:sUbJeCt;", "pass", NULL},
    {"§3.5 h=: white space and folds around colons",
     "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from :\r\n\tto : \r\n subject;", "pass", NULL},
    {"§3.5 h=: names of fields that are not there", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from:to:cc:x-none;",
     "pass", NULL},
    {"§5.4: a name more often than there are fields",
     "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from:from:from:subject:subject;", "pass", NULL},
    {"§3.5 h=: the signature's own name means nothing",
     "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from:dkim-signature;", "pass", NULL},
    /* i= */
    {"§3.5 i=: an address of d=", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; i=ann@signer.test;", "pass", NULL},
    {"§3.5 i=: no local part", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; i=@signer.test;", "pass", NULL},
    {"§3.5 i=: a subdomain of d=", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; i=@eng.signer.test;", "pass",
     NULL},
    {"§3.5 i=: case means nothing in a domain", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; i=@ENG.Signer.TEST;",
     "pass", NULL},
    {"§6.1.1: i= of another domain", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; i=@other.test;", "permerror",
     "i= is not of"},
    {"§6.1.1: i= that only ends alike", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; i=@badsigner.test;",
     "permerror", "i= is not of"},
    {"§6.1.1: i= above d=", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; i=@test;", "permerror", "i= is not of"},
    {"§3.5 i=: has an @", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; i=signer.test;", "permerror",
     "i= is no identity"},
    {"§2.11: i= is quoted-printable", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; i=a=3Db=20c@eng=2Esigner.test;",
     "pass", NULL},
    {"§2.11: an = without two capital hex digits",
     "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; i=a=3@signer.test;", "permerror", "i= is no identity"},
    {"§2.11: white space in it counts for nothing",
     "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; i=ann@\r\n signer.test;", "pass", NULL},
    {"RFC 8616 §4: i= in U-labels, d= in A-labels",
     "v=1; a=rsa-sha256; d=xn--bcher-kva.test; s=sel; h=from; i=@b\xc3\xbc"
     "cher.test;",
     "pass", NULL},
    {"RFC 8616 §4: a local part beyond ASCII",
     "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; i=j\xc3\xb6rg@signer.test;", "pass", NULL},
    /* l= */
    {"§3.5 l=: the whole body", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; l=10;", "pass", NULL},
    {"§3.5 l=: a part of it", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; l=5;", "pass", NULL},
    {"§3.5 l=: nothing of it", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; l=0;", "pass", NULL},
    {"§3.5 l=: leading zeros", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; l=0005;", "pass", NULL},
    {"§3.5 l=: beyond the body", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; l=11;", "fail",
     "larger than the body"},
    {"§3.5 l=: beyond any body, of 76 digits",
     "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; "
     "l=9999999999999999999999999999999999999999999999999999999999999999999999999999;",
     "fail", "larger than the body"},
    {"§3.5 l=: no number", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; l=ten;", "permerror", "l= is no number"},
    {"§3.5 l=: negative", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; l=-1;", "permerror", "l= is no number"},
    {"§3.5 l=: empty", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; l=;", "permerror", "l= is no number"},
    /* q= */
    {"§3.5 q=: dns/txt", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; q=dns/txt;", "pass", NULL},
    {"§3.5 q=: one of several is known", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; q=http/x : dns/txt;", "pass",
     NULL},
    {"§3.5 q=: none is known", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; q=dns/naptr;", "permerror", "q="},
    /* t= and x= */
    {"§3.5 t=: the past", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; t=1;", "pass", NULL},
    {"§3.5 t=: clocks differ a little", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; t=1795516000;", "pass", NULL},
    {"§3.5 t=: in the future, may be ignored", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; t=1795700000;",
     "policy", "future"},
    {"§3.5 t=: over 12 digits is infinity",
     "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; t=9999999999999999999999999;", "policy", "future"},
    {"§3.5 t=: no number", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; t=now;", "permerror", "t= is no number"},
    {"§3.5 x=: the future", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; x=1795513278;", "pass", NULL},
    {"§3.5 x=: this very second", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; x=1795513277;", "pass", NULL},
    {"§6.1.1: expired", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; x=1795513276;", "fail", "expired"},
    {"§3.5 x=: over 12 digits never comes",
     "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; t=5; x=99999999999999999999;", "pass", NULL},
    {"§3.5 x=: before t=", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; t=1795513000; x=1795512000;", "permerror",
     "x= is not after t="},
    {"§3.5 x=: the same as t=", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; t=1795513000; x=1795513000;",
     "permerror", "x= is not after t="},
    {"§3.5 x=: no number", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; x=1e9;", "permerror", "x= is no number"},
    /* z=, unknown tags, syntax */
    {"§3.5 z=: is for people", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; z=From:ann@signer.test|Subject:=20hi;",
     "pass", NULL},
    {"§3.2: unknown tags are ignored", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; foo=bar; x_9=; zz=a=b;",
     "pass", NULL},
    {"§3.2: names of tags have a case: D= is unknown", "v=1; a=rsa-sha256; d=signer.test; D=other.test; s=sel; h=from;",
     "pass", NULL},
    {"§3.2: white space around everything",
     "v = 1 ;\r\n\t a\t=\r\n rsa-sha256 ; d = signer.test ; s= sel\r\n\t; h = from ;", "pass", NULL},
    {"§3.2: a tag twice", "v=1; a=rsa-sha256; d=signer.test; d=signer.test; s=sel; h=from;", "permerror", "malformed"},
    {"§3.2: an unknown tag twice", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; zz=1; zz=1;", "permerror",
     "malformed"},
    {"§3.2: no = in a tag", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; lonely;", "permerror", "malformed"},
    {"§3.2: an empty tag", "v=1; a=rsa-sha256;; d=signer.test; s=sel; h=from;", "permerror", "malformed"},
    {"§3.2: a name that begins with a digit", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; 1x=1;", "permerror",
     "malformed"},
    {"§3.2: a control character", "v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; zz=\x01;", "permerror", "control"},
};

static const char *const domains[] = {"sel._domainkey.signer.test", "march.2026._domainkey.signer.test",
                                      "key_1._domainkey.signer.test", "xn--schn-7qa._domainkey.xn--bcher-kva.test",
                                      "sel._domainkey.xn--bcher-kva.test"};

static void each_tag_is_judged_as_the_rfcs_say(void **state) {
    struct signer s = signer_create(false, 1024);
    struct scripted_record zone[sizeof domains / sizeof *domains];
    size_t failures = 0;
    (void)state;
    for (size_t i = 0; i < sizeof domains / sizeof *domains; i++)
        zone[i] = (struct scripted_record){domains[i], "TXT", s.record};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct buf message = {0};
        struct dkim_verdict *v;
        sign_with(s.key, "DKIM-Signature", cases[i].tags, slice_of(header), slice_of(body), &message);
        buf_add_str(&message, header);
        size_t n = verify_dkim(arena, buf_slice(&message), slice_of(body), zone, sizeof zone / sizeof *zone, &v);
        if (n != 1 || strcmp(dkim_result_text(v->result), cases[i].result) != 0 ||
            (cases[i].reason && !strstr(v->reason, cases[i].reason))) {
            print_error("%s\n  %s\n  wanted %s, is %s: %s\n", cases[i].rule, cases[i].tags, cases[i].result,
                        n ? dkim_result_text(v->result) : "nothing", n ? v->reason : "");
            failures++;
        }
        buf_free(&message);
        arena_destroy(arena);
    }
    EVP_PKEY_free(s.key);
    assert_int_equal(failures, 0);
}

/* b= and bh= are written by hand: the hash and signature of nothing. */
static void hashes_and_signatures_are_base_64(void **state) {
    static const struct {
        const char *rule, *field, *result;
    } rows[] = {
        {"§3.5 b=: is required", "DKIM-Signature: v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; bh=AAAA\r\n",
         "permerror"},
        {"§3.5 b=: is not empty", "DKIM-Signature: v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; bh=AAAA; b=\r\n",
         "permerror"},
        {"§3.5 b=: no base 64", "DKIM-Signature: v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; bh=AAAA; b=A*AA\r\n",
         "permerror"},
        {"§3.5 bh=: is required", "DKIM-Signature: v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; b=AAAA\r\n",
         "permerror"},
        {"§3.5 bh=: no base 64", "DKIM-Signature: v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; bh=A; b=AAAA\r\n",
         "permerror"},
        {"§6.1.3: a hash of another length is another hash",
         "DKIM-Signature: v=1; a=rsa-sha256; d=signer.test; s=sel; h=from; bh=AAAA; b=AAAA\r\n", "fail"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *arena = arena_create();
        struct dkim_verdict *v;
        assert_int_equal(verify_dkim(arena, slice_of(rows[i].field), slice_of(body), NULL, 0, &v), 1);
        if (strcmp(dkim_result_text(v->result), rows[i].result) != 0) print_error("%s: %s\n", rows[i].rule, v->reason);
        assert_string_equal(dkim_result_text(v->result), rows[i].result);
        arena_destroy(arena);
    }
}

static void base_64_may_be_folded_and_unpadded(void **state) {
    struct buf out = {0};
    (void)state;
    assert_int_equal(dkim_base64(SLICE("aG\r\n\tk "), &out), 0); /* §2.10 */
    assert_int_equal(dkim_base64(SLICE("aGk="), &out), 0);
    assert_int_equal(dkim_base64(SLICE("a Gk\r\n ="), &out), 0);
    assert_string_equal(buf_str(&out), "hihihi");
    assert_int_equal(dkim_base64(SLICE("aGkxx"), &out), -1);
    assert_int_equal(dkim_base64(SLICE("aG;k"), &out), -1);
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_tag_is_judged_as_the_rfcs_say),
        cmocka_unit_test(hashes_and_signatures_are_base_64),
        cmocka_unit_test(base_64_may_be_folded_and_unpadded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
