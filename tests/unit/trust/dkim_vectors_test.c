/* The examples of the RFCs themselves: RFC 8463 appendix A (one message, an Ed25519 and an RSA
 * signature), RFC 6376 appendix A. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/trust/signing.h"

static const char message_text[] = "From: Joe SixPack <joe@football.example.com>\r\n"
                                   "To: Suzie Q <suzie@shopping.example.net>\r\n"
                                   "Subject: Is dinner ready?\r\n"
                                   "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
                                   "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n";
static const char body_text[] = "Hi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n";

static const struct scripted_record zone[] = {
    /* RFC 8463 §A.2 */
    {"brisbane._domainkey.football.example.com", "TXT",
     "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="},
    {"test._domainkey.football.example.com", "TXT",
     "v=DKIM1; k=rsa; "
     "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/"
     "byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/"
     "K4w3QIDAQAB"},
    /* RFC 6376 §C */
    {"brisbane._domainkey.example.com", "TXT",
     "v=DKIM1; "
     "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/"
     "zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/"
     "RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"},
};
enum { ZONE = sizeof zone / sizeof *zone };

/* RFC 8463 §A.3 */
static const char ed25519_field[] = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
                                    " d=football.example.com; i=@football.example.com;\r\n"
                                    " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
                                    " subject : date : message-id : from : subject : date;\r\n"
                                    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
                                    " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"
                                    " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n";
static const char rsa_field[] = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
                                " d=football.example.com; i=@football.example.com;\r\n"
                                " q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
                                " date : message-id : from : subject : date;\r\n"
                                " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
                                " b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n"
                                " DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n"
                                " dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n";

static void both_signatures_of_rfc_8463_pass(void **state) {
    struct arena *arena = arena_create();
    struct buf header = {0};
    struct dkim_verdict *v;
    (void)state;
    buf_printf(&header, "%s%s%s", ed25519_field, rsa_field, message_text);
    assert_int_equal(verify_dkim(arena, buf_slice(&header), slice_of(body_text), zone, ZONE, &v), 2);
    for (size_t i = 0; i < 2; i++) {
        if (v[i].result != DKIM_PASS) print_error("%s: %s\n", dkim_result_text(v[i].result), v[i].reason);
        assert_int_equal(v[i].result, DKIM_PASS);
    }
    assert_int_equal(v[0].bits, 256);
    assert_int_equal(v[1].bits, 1024);
    /* one byte of any part less */
    header.data[header.n - 5]++;
    verify_dkim(arena, buf_slice(&header), slice_of(body_text), zone, ZONE, &v);
    assert_int_equal(v[0].result, DKIM_FAIL);
    assert_int_equal(v[1].result, DKIM_FAIL);
    buf_free(&header);
    arena_destroy(arena);
}

/* RFC 8463 §A.1: the private key of the example makes the example's signature, Ed25519 being
 * deterministic (RFC 8032 §5.1.6). */
static void our_ed25519_signature_is_the_rfcs(void **state) {
    struct buf seed = {0}, data = {0}, b64 = {0};
    (void)state;
    assert_int_equal(dkim_base64(SLICE("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="), &seed), 0);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)seed.data, seed.n);
    struct header_index *index = header_index_create(slice_of(message_text));
    dkim_signed_header(index, SLICE("from : to : subject : date : message-id : from : subject : date"), true,
                       slice_of(ed25519_field), &data, NULL);
    assert_int_equal(dkim_sign_bytes(key, buf_slice(&data), &b64), 0);
    assert_string_equal(buf_str(&b64),
                        "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==");
    header_index_destroy(index);
    EVP_PKEY_free(key);
    buf_free(&seed);
    buf_free(&data);
    buf_free(&b64);
}

/* RFC 6376 §A.2, as printed: simple, so that each space counts. */
static void the_signature_of_rfc_6376_passes(void **state) {
    static const char field[] = "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r\n"
                                "      c=simple/simple; q=dns/txt; i=joe@football.example.com;\r\n"
                                "      h=Received : From : To : Subject : Date : Message-ID;\r\n"
                                "      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
                                "      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\r\n"
                                "      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\r\n"
                                "      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\r\n"
                                "      4bmp/YzhwvcubU4=;\r\n"
                                "Received: from client1.football.example.com  [192.0.2.1]\r\n"
                                "      by submitserver.example.com with SUBMISSION;\r\n"
                                "      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r\n";
    struct arena *arena = arena_create();
    struct buf header = {0};
    struct dkim_verdict *v;
    (void)state;
    buf_printf(&header, "%s%s", field, message_text);
    assert_int_equal(verify_dkim(arena, buf_slice(&header), slice_of(body_text), zone, ZONE, &v), 1);
    if (v->result != DKIM_PASS) print_error("%s: %s\n", dkim_result_text(v->result), v->reason);
    assert_int_equal(v->result, DKIM_PASS);
    buf_free(&header);
    arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_signatures_of_rfc_8463_pass),
        cmocka_unit_test(our_ed25519_signature_is_the_rfcs),
        cmocka_unit_test(the_signature_of_rfc_6376_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
