/* Authentication-Results and Received-SPF: written whatever the values are, foreign ones in our
 * name found, others' read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "libcommon/trust/verdict/results_read.h"
#include "libcommon/trust/verdict/trust_private.h"

static struct trust_result plain_result(void) {
    return (struct trust_result){
        .spf = {.result = SPF_PASS, .reason = "mx of a.test matches", .mechanism = "mx", .domain = "a.test"},
        .dmarc = {.reason = "the domain has no DMARC record",
                  .relief = "",
                  .from_domain = "a.test",
                  .record_domain = "",
                  .organizational_domain = ""},
        .arc = {.reason = "", .sealer = ""},
        .client_name = "",
        .enhanced = "",
        .reason = ""};
}

static void everything_is_written_in_the_rfcs_words(void **state) {
    struct dkim_verdict dkim[2] = {{.result = DKIM_PASS, .reason = "the signature fits"},
                                   {.result = DKIM_FAIL, .reason = "the \"body\" was changed", .testing = true}};
    dkim[0].signature = (struct dkim_signature){.a = SLICE("rsa-sha256"),
                                                .d = SLICE("a.test"),
                                                .s = SLICE("s1"),
                                                .i = SLICE("@mail.a.test"),
                                                .b = SLICE("ab/cd\r\n\t+ef=ghijk")};
    dkim[1].signature = (struct dkim_signature){
        .a = SLICE("ed25519-sha256"), .d = SLICE("b.test"), .s = SLICE("s2"), .b = SLICE("abcdefgh")};
    struct trust_result r = plain_result();
    struct trust_input in = {.client_ip = SLICE("2001:db8::1"),
                             .helo = SLICE("mail.a.test"),
                             .mail_from = SLICE("ann@a.test"),
                             .authserv_id = SLICE("mx.here.test")};
    struct buf out = {0};
    (void)state;
    r.helo_checked = true;
    r.spf_helo = (struct spf_verdict){.result = SPF_NONE, .reason = "mail.a.test has no SPF record"};
    r.dkim = dkim;
    r.dkim_count = 2;
    r.dmarc.result = DMARC_PASS;
    r.dmarc.has_record = true;
    r.dmarc.policy = DMARC_POLICY_REJECT;
    r.arc = (struct arc_verdict){.result = ARC_PASS, .sets = 2, .oldest_pass = 1, .sealer = "list.test", .reason = ""};
    trust_write_headers(&in, &r, &out);
    assert_string_equal(buf_str(&out),
                        "Authentication-Results: mx.here.test;\r\n"
                        "\tspf=pass smtp.mailfrom=ann@a.test;\r\n"
                        "\tspf=none reason=\"mail.a.test has no SPF record\" smtp.helo=mail.a.test;\r\n"
                        "\tdkim=pass header.d=a.test header.i=@mail.a.test header.s=s1\r\n"
                        "\theader.a=rsa-sha256 header.b=\"ab/cd+ef\";\r\n"
                        "\tdkim=fail reason=\"the \\\"body\\\" was changed\" (the key is in testing)\r\n"
                        "\theader.d=b.test header.s=s2 header.a=ed25519-sha256 header.b=abcdefgh;\r\n"
                        "\tdmarc=pass (p=reject dis=none) header.from=a.test;\r\n"
                        "\tarc=pass header.oldest-pass=1 smtp.remote-ip=\"2001:db8::1\";\r\n"
                        "\tiprev=pass policy.iprev=\"2001:db8::1\"\r\n"
                        "Received-SPF: pass (mx of a.test matches) receiver=mx.here.test;\r\n"
                        "\tclient-ip=\"2001:db8::1\"; identity=mailfrom; envelope-from=\"ann@a.test\";\r\n"
                        "\thelo=mail.a.test; mechanism=mx;\r\n");
    buf_free(&out);
}

/* Every line is short, ends with CRLF and holds nothing that could end the field; what cannot be
 * written is "?". */
static void assert_is_a_field(struct slice text, bool utf8) {
    size_t line = 0;
    assert_true(text.n > 2 && memcmp(text.p + text.n - 2, "\r\n", 2) == 0);
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '\r') {
            assert_int_equal(text.p[i + 1], '\n');
            assert_true(i + 2 == text.n || text.p[i + 2] == '\t' || text.p[i + 2] == 'R'); /* a fold, or Received-SPF */
            line = ++i + 1;
        } else {
            assert_true(c == '\t' || (c >= ' ' && c != 0x7f && (utf8 || c < 0x80)));
            assert_true(i - line < 998);
        }
    }
}

static void hostile_values_stay_inside_their_quotes(void **state) {
    static const struct {
        const char *mail_from;
        bool utf8;
        const char *is; /* of smtp.mailfrom */
    } cases[] = {
        {"a@x.test", false, "a@x.test"},
        {"a@x.test; dkim=pass header.d=bank.test", false, "\"a@x.test; dkim=pass header.d=bank.test\""},
        {"a\r\nX-Evil: 1@x.test", false, "\"a??X-Evil: 1@x.test\""},
        {"\"a b\"@x.test", false, "\"\\\"a b\\\"@x.test\""},
        {"a\\@x.test", false, "\"a\\\\@x.test\""},
        {"a@[192.0.2.1]", false, "\"a@[192.0.2.1]\""},
        {"a+tag=x@x.test", false, "\"a+tag=x@x.test\""},
        {"a/b@x.test", false, "\"a/b@x.test\""},
        {"a@b@x.test", false, "\"a@b@x.test\""},
        {".a@x.test", false, "\".a@x.test\""},
        {"a(b)@x.test", false, "\"a(b)@x.test\""},
        {"a\x01@x.test", false, "\"a?@x.test\""},
        {"ann@b\xc3\xbc"
         "cher.test",
         false, "ann@xn--bcher-kva.test"}, /* RFC 8616 §6: A-labels in a message of old */
        {"ann@b\xc3\xbc"
         "cher.test",
         true,
         "\"ann@b\xc3\xbc"
         "cher.test\""},
        {"j\xc3\xb6rg@x.test", false, "\"j?rg@x.test\""},
        {"j\xc3\xb6rg@x.test", true, "\"j\xc3\xb6rg@x.test\""},
        {"a\xff@x.test", true, "\"a?@x.test\""},
        {"a\xc2\x85@x.test", true, "\"a??@x.test\""}, /* a control of C1 */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trust_result r = plain_result();
        struct trust_input in = {.client_ip = SLICE("192.0.2.1"),
                                 .helo = SLICE("h"),
                                 .mail_from = slice_of(cases[i].mail_from),
                                 .authserv_id = SLICE("mx.here.test"),
                                 .smtputf8 = cases[i].utf8};
        struct buf out = {0}, wanted = {0};
        trust_write_headers(&in, &r, &out);
        assert_is_a_field(buf_slice(&out), cases[i].utf8);
        buf_printf(&wanted, "smtp.mailfrom=%s;", cases[i].is);
        if (!strstr(buf_str(&out), buf_str(&wanted)))
            print_error("%s\nis not in\n%s\n", buf_str(&wanted), buf_str(&out));
        assert_non_null(strstr(buf_str(&out), buf_str(&wanted)));
        buf_free(&out);
        buf_free(&wanted);
    }
}

static void a_null_reverse_path_is_told_as_helo(void **state) {
    struct trust_result r = plain_result();
    struct trust_input in = {.client_ip = SLICE("192.0.2.1"),
                             .helo = SLICE("mail.a.test"),
                             .mail_from = SLICE(""),
                             .authserv_id = SLICE("mx.here.test")};
    struct buf out = {0};
    (void)state;
    r.spf.result = SPF_PERMERROR;
    r.spf.reason = "a term has no name";
    r.spf.mechanism = "";
    trust_write_headers(&in, &r, &out);
    assert_non_null(strstr(buf_str(&out), "spf=permerror reason=\"a term has no name\" smtp.helo=mail.a.test;"));
    assert_non_null(
        strstr(buf_str(&out),
               "identity=helo; envelope-from=\"\"; helo=mail.a.test;\r\n\tproblem=\"a term has no name\";\r\n"));
    buf_free(&out);
}

static void fields_in_our_name_are_found_however_they_are_written(void **state) {
    static const struct {
        const char *field;
        bool ours;
    } cases[] = {
        {"Authentication-Results: mx.b\xc3\xbc"
         "cher.test; spf=pass\r\n",
         true},
        {"Authentication-Results: MX.xn--bcher-KVA.test; spf=pass\r\n", true},
        {"authentication-RESULTS : mx.xn--bcher-kva.test; spf=pass\r\n", true},
        {"Authentication-Results:mx.xn--bcher-kva.test;spf=pass\r\n", true},
        {"Authentication-Results: mx.xn--bcher-kva.test.; spf=pass\r\n", true},
        {"Authentication-Results: (x) (y(z)) mx.xn--bcher-kva.test (v) 1 (w); spf=pass\r\n", true},
        {"Authentication-Results:\r\n\t(\\))\r\n\tmx.xn--bcher-kva.test\r\n\t1; spf=pass\r\n", true},
        {"Authentication-Results: \"mx.xn--bcher-kva.test\"; spf=pass\r\n", true},
        {"Authentication-Results: \"mx.xn--bcher\\-kva.test\"; spf=pass\r\n", true},
        {"Authentication-Results: mx.xn--bcher-kva.test\r\n", true},
        {"Authentication-Results: mx.xn--bcher-kva.test nonsense nonsense\r\n", true},
        {"Authentication-Results: mx.xn--bcher-kva.test(; spf=pass\r\n", true},
        {"Authentication-Results: other.test; spf=pass\r\n", false},
        {"Authentication-Results: mx.xn--bcher-kva.test.other.test; spf=pass\r\n", false},
        {"Authentication-Results: xn--bcher-kva.test; spf=pass\r\n", false},
        {"Authentication-Results: other.test; spf=pass (mx.xn--bcher-kva.test)\r\n", false},
        {"Authentication-Results: \r\n", false},
        {"ARC-Authentication-Results: i=1; mx.xn--bcher-kva.test; spf=pass\r\n",
         false}, /* a seal covers it, and it is not read as ours */
        {"X-Authentication-Results: mx.xn--bcher-kva.test; spf=pass\r\n", false},
        {"Received-SPF: pass receiver=mx.xn--bcher-kva.test; client-ip=192.0.2.1;\r\n", true},
        {"Received-SPF: pass (x) client-ip=192.0.2.1; receiver=\"MX.xn--bcher-kva.test\"\r\n", true},
        {"Received-SPF: pass client-ip=192.0.2.1; receiver=other.test;\r\n", false},
        {"Received-SPF: pass (mx.xn--bcher-kva.test)\r\n", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct buf header = {0};
        struct trust_result r = plain_result();
        buf_printf(&header, "Subject: x\r\nnonsense\r\n%sFrom: a@b.test\r\n", cases[i].field);
        struct trust_input in = {.header = buf_slice(&header), .authserv_id = SLICE("mx.xn--bcher-kva.test")};
        results_find_foreign(arena, &in, &r);
        if (r.drop_count != cases[i].ours) print_error("%s", cases[i].field);
        assert_int_equal(r.drop_count, cases[i].ours);
        if (cases[i].ours) {
            assert_int_equal(r.drops[0].offset, strlen("Subject: x\r\nnonsense\r\n"));
            assert_int_equal(r.drops[0].n, strlen(cases[i].field));
        }
        buf_free(&header);
        arena_destroy(arena);
    }
}

/* A comment as long as one likes may be before the name; many "receiver=" with comments without end
 * are no work. */
static void length_hides_nothing_and_costs_nothing(void **state) {
    struct arena *arena = arena_create();
    struct buf header = {0};
    struct trust_result r = plain_result();
    (void)state;
    buf_add_str(&header, "Authentication-Results: (");
    for (int i = 0; i < 100000; i++) buf_add_str(&header, "x ");
    buf_add_str(&header, ") mx.here.test; dmarc=pass\r\nReceived-SPF: pass ");
    for (int i = 0; i < 100000; i++) buf_add_str(&header, "receiver=(");
    buf_add_str(&header, "\r\n");
    struct trust_input in = {.header = buf_slice(&header), .authserv_id = SLICE("mx.here.test")};
    results_find_foreign(arena, &in, &r);
    assert_int_equal(r.drop_count, 1);
    buf_free(&header);
    arena_destroy(arena);
}

/* Fields of others, among them the examples of RFC 8601 App. B. */
static void results_of_others_are_read(void **state) {
    static const struct {
        const char *value, *is; /* id, then method=result{type.name=value …}; "!": malformed
                                   there */
    } cases[] = {
        {"example.org 1; none", "example.org|"},
        {"example.org; none", "example.org|"},
        {"example.com;\r\n spf=pass smtp.mailfrom=example.net", "example.com|spf=pass{smtp.mailfrom=example.net}"},
        {"example.com;\r\n auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n spf=pass smtp.mailfrom=example.net",
         "example.com|auth=pass{smtp.auth=sender@example.net}spf=pass{smtp.mailfrom=example.net}"},
        {"example.com; dkim=pass reason=\"good signature\"\r\n header.i=@mail-router.example.net;\r\n dkim=fail "
         "reason=\"bad signature\" "
         "header.i=@newyork.example.com",
         "example.com|dkim=pass{header.i=@mail-router.example.net}dkim=fail{header.i=@newyork.example.com}"},
        {"foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n policy "
         "(A dot can go here) . (like that) "
         "expired\r\n (this surprised "
         "me) = (as I wasn't expecting it) 1362471462",
         "foo.example.net|dkim=fail{policy.expired=1362471462}"},
        {"a.test; dkim=pass header.i=\"a b\"@x.test", "a.test|dkim=pass{header.i=a b@x.test}"},
        {"a.test; spf=pass;", "a.test|spf=pass{}"},
        {"a.test", "a.test|"},
        {"\"a b\"; spf=pass", "a b|spf=pass{}"},
        {"a.test; spf", "a.test|!"},
        {"a.test; =pass", "a.test|!"},
        {"a.test; spf=", "a.test|!"},
        {"a.test; spf=pass smtp", "a.test|!"},
        {"a.test; spf=pass smtp.=x", "a.test|!"},
        {"a.test; spf=pass .x=y", "a.test|!"},
        {"a.test b c; spf=pass", "!"},
        {"; spf=pass", "!"},
        {"", "!"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct slice value = slice_of(cases[i].value), id;
        struct results_one one;
        struct buf got = {0};
        int more = results_authserv_id(arena, &value, &id);
        if (more == 0) {
            buf_printf(&got, "%.*s|", SLICE_FMT(id));
            while ((more = results_next(arena, &value, &one)) == 1) {
                buf_printf(&got, "%.*s=%.*s{", SLICE_FMT(one.method), SLICE_FMT(one.result));
                for (size_t k = 0; k < one.property_count; k++)
                    buf_printf(&got, "%s%.*s.%.*s=%.*s", k ? " " : "", SLICE_FMT(one.properties[k].type),
                               SLICE_FMT(one.properties[k].name), SLICE_FMT(one.properties[k].value));
                buf_add_char(&got, '}');
            }
        }
        if (more < 0) buf_add_char(&got, '!');
        assert_string_equal(buf_str(&got), cases[i].is);
        buf_free(&got);
        arena_destroy(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_written_in_the_rfcs_words),
        cmocka_unit_test(hostile_values_stay_inside_their_quotes),
        cmocka_unit_test(a_null_reverse_path_is_told_as_helo),
        cmocka_unit_test(fields_in_our_name_are_found_however_they_are_written),
        cmocka_unit_test(length_hides_nothing_and_costs_nothing),
        cmocka_unit_test(results_of_others_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
