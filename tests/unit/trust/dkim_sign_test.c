/* What we sign: the form of the field (RFC 6376 §3.5, §5.4, RFC 5322 §2.1.1), what it covers, and
 * what breaks it afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/trust/signing.h"

static const char body[] = "Hello  Bob \r\n\r\nbye\r\n\r\n";

static struct buf sign(const struct signer *s, const char *header, const char *domain, const char *selector) {
    struct buf out = {0};
    struct body_digest digest;
    body_digest_of(slice_of(body), (struct body_hash_kind){true, -1}, &digest);
    assert_int_equal(
        dkim_sign(slice_of(header), digest.digest, slice_of(domain), slice_of(selector), s->key, SIGNING_NOW, &out), 0);
    return out;
}

static enum dkim_result verify(const struct signer *s, struct slice header, const char *domain, const char *selector) {
    struct arena *arena = arena_create();
    struct dkim_verdict *v;
    struct scripted_record zone[] = {{arena_printf(arena, "%s._domainkey.%s", selector, domain), "TXT", s->record}};
    assert_int_equal(verify_dkim(arena, header, slice_of(body), zone, 1, &v), 1);
    enum dkim_result result = v->result;
    arena_destroy(arena);
    return result;
}

/* Headers as clients and gateways write them. */
static const char *const headers[] = {
    "From: ann@signer.test\r\n",
    "From: ann@signer.test\r\nSubject:\r\nTo: \r\n",
    "From: ann@signer.test  \r\nSubject:  two  spaces \t\r\nTo:bob@here.test\r\n",
    "From: ann@signer.test\r\nSubject: folded\r\n\t\r\n  and again \r\n",
    "FROM: ann@signer.test\r\nsubject: a\r\nmessage-id: <1@signer.test>\r\nDate : Tue, 24 Nov 2026 10:00:00 +0000\r\n",
    "From: J\xc3\xb6rg <j\xc3\xb6rg@signer.test>\r\nSubject: caf\xc3\xa9 \xff\xfe\r\n",
    "From: ann@signer.test\r\nTo: a@x\r\nTo: b@x\r\nTo: c@x\r\nCc: d@x\r\nList-Unsubscribe: "
    "<https://x>\r\nList-Unsubscribe-Post: "
    "List-Unsubscribe=One-Click\r\n",
    "Received: x\r\nFrom: ann@signer.test\r\nContent-Type: multipart/mixed;\r\n boundary=\"a\"\r\nMIME-Version: "
    "1.0\r\nContent-Transfer-Encoding: 8bit\r\n"
    "Reply-To: x@y\r\nReferences: <1@a> <2@b>\r\nIn-Reply-To: <2@b>\r\nSender: s@signer.test\r\nResent-From: "
    "r@signer.test\r\nResent-To: q@x\r\n",
};

static void every_header_signed_verifies_in_lines_of_78(void **state) {
    struct signer signers[] = {signer_create(false, 2048), signer_create(true, 0), signer_create(false, 4096)};
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
            struct buf message = sign(&signers[k], headers[i], "signer.test", "postbus-2026-rsa");
            for (struct slice rest = buf_slice(&message), line; slice_cut(&rest, '\n', &line);) {
                if (line.n > 79) print_error("%.*s\n", SLICE_FMT(line));
                assert_true(line.n <= 79); /* 78 and CR (RFC 5322 §2.1.1) */
            }
            buf_add_str(&message, headers[i]);
            assert_int_equal(verify(&signers[k], buf_slice(&message), "signer.test", "postbus-2026-rsa"), DKIM_PASS);
            buf_free(&message);
        }
        EVP_PKEY_free(signers[k].key);
    }
}

static void long_names_stay_whole(void **state) {
    struct signer s = signer_create(true, 0);
    static const char domain[] = "a23456789012345678901234567890123456789012345678901234567890."
                                 "b23456789012345678901234567890123456789012345678901234567890.test";
    (void)state;
    struct buf message = sign(&s, headers[0], domain, "s23456789012345678901234567890123456789012345678901234567890");
    buf_add_str(&message, headers[0]);
    assert_int_equal(
        verify(&s, buf_slice(&message), domain, "s23456789012345678901234567890123456789012345678901234567890"),
        DKIM_PASS);
    buf_free(&message);
    EVP_PKEY_free(s.key);
}

/* §5.4, §8.15: a field that readers are shown cannot be added; fields that the way adds can. */
static void what_is_added_breaks_it_or_does_not(void **state) {
    static const struct {
        const char *added;
        enum dkim_result result;
    } rows[] = {
        {"From: eve@evil.test\r\n", DKIM_FAIL},
        {"from : eve@evil.test\r\n", DKIM_FAIL},
        {"To: eve@evil.test\r\n", DKIM_FAIL},
        {"Cc: eve@evil.test\r\n", DKIM_FAIL},
        {"Subject: other\r\n", DKIM_FAIL},
        {"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n", DKIM_FAIL},
        {"Message-ID: <2@evil.test>\r\n", DKIM_FAIL},
        {"Reply-To: eve@evil.test\r\n", DKIM_FAIL},
        {"Content-Type: text/html\r\n", DKIM_FAIL},
        {"MIME-Version: 1.0\r\n", DKIM_FAIL},
        {"Content-Transfer-Encoding: base64\r\n", DKIM_FAIL},
        {"Received: from x by y\r\n", DKIM_PASS},
        {"Authentication-Results: mx.here.test; dkim=pass\r\n", DKIM_PASS},
        {"List-Id: <list.here.test>\r\n", DKIM_PASS},
        {"Sender: list@here.test\r\n", DKIM_PASS},
        {"X-Spam: no\r\n", DKIM_PASS},
    };
    static const char header[] = "From: Ann <ann@signer.test>\r\nTo: bob@here.test\r\nSubject: hello\r\nDate: Tue, 24 "
                                 "Nov 2026 10:00:00 +0000\r\n"
                                 "Message-ID: <1@signer.test>\r\n";
    struct signer s = signer_create(true, 0);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf signature = sign(&s, header, "signer.test", "sel"), message = {0};
        buf_printf(&message, "%s%s%s", rows[i].added, buf_str(&signature), header);
        if (verify(&s, buf_slice(&message), "signer.test", "sel") != rows[i].result)
            print_error("above: %s", rows[i].added);
        assert_int_equal(verify(&s, buf_slice(&message), "signer.test", "sel"), rows[i].result);
        buf_reset(&message);
        buf_printf(&message, "%s%s%s", buf_str(&signature), header, rows[i].added);
        if (verify(&s, buf_slice(&message), "signer.test", "sel") != rows[i].result)
            print_error("below: %s", rows[i].added);
        assert_int_equal(verify(&s, buf_slice(&message), "signer.test", "sel"), rows[i].result);
        buf_free(&signature);
        buf_free(&message);
    }
    EVP_PKEY_free(s.key);
}

static void a_key_that_cannot_sign_makes_no_field(void **state) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    unsigned char digest[BODY_HASH_BYTES] = {0};
    struct buf out = {0};
    (void)state;
    assert_int_equal(dkim_sign(slice_of(headers[0]), digest, SLICE("signer.test"), SLICE("s"), key, SIGNING_NOW, &out),
                     -1);
    assert_int_equal(out.n, 0);
    buf_free(&out);
    EVP_PKEY_free(key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_header_signed_verifies_in_lines_of_78),
        cmocka_unit_test(long_names_stay_whole),
        cmocka_unit_test(what_is_added_breaks_it_or_does_not),
        cmocka_unit_test(a_key_that_cannot_sign_makes_no_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
