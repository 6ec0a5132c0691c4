/* What delivery decides without asking anybody: replies, retries, reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/delivery/bounce.h"
#include "services/delivery/reply.h"

struct metric delivery_delivered, delivery_sent, delivery_deferred, delivery_bounced, delivery_in_work;

static void replies_are_read_line_by_line(void **state) {
    static const struct {
        const char *lines; /* parted by "|" */
        int whole;         /* of the last line */
        int code;
        const char *enhanced, *text;
    } cases[] = {
        {"250 ok", 1, 250, "2.0.0", "250 ok"},
        {"250", 1, 250, "2.0.0", "250 "},
        {"250-a|250-b|250 c", 1, 250, "2.0.0", "250 a b c"},
        {"550 5.1.1 no such user", 1, 550, "5.1.1", "550 5.1.1 no such user"},
        {"450-4.2.0 grey|450 4.2.0 listed", 1, 450, "4.2.0", "450 4.2.0 grey 4.2.0 listed"},
        {"550 4.1.1 lies", 1, 550, "5.0.0", "550 4.1.1 lies"}, /* the class does not fit the code */
        {"250-a", 0, 250, "2.0.0", NULL},
        {"250-a|550 b", -1, 0, NULL, NULL}, /* RFC 5321 §4.2.1 */
        {"hello", -1, 0, NULL, NULL},
        {"25 x", -1, 0, NULL, NULL},
        {"150 x", -1, 0, NULL, NULL},
        {"250_x", -1, 0, NULL, NULL},
        {"", -1, 0, NULL, NULL},
        {"550 \xff\x01oops", 1, 550, "5.0.0", "550 ? oops"}, /* what the peer says never breaks our JSON */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct smtp_reply r = {0};
        struct slice rest = slice_of(cases[i].lines), line;
        struct buf text = {0};
        int whole = 0;
        for (bool more = true; more && whole == 0;) {
            more = slice_cut(&rest, '|', &line);
            whole = smtp_reply_add(&r, more ? line : rest);
        }
        assert_int_equal(whole, cases[i].whole);
        if (whole >= 0) {
            assert_int_equal(r.code, cases[i].code);
            assert_string_equal(r.enhanced, cases[i].enhanced);
        }
        if (whole == 1) {
            smtp_reply_text(&r, &text);
            assert_string_equal(buf_str(&text), cases[i].text);
        }
        buf_free(&text);
        buf_free(&r.text);
    }
}

static void extensions_are_found_in_the_ehlo_reply(void **state) {
    struct smtp_reply r = {0};
    struct slice value;
    (void)state;
    smtp_reply_add(&r, SLICE("250-mx.test SIZE"));
    smtp_reply_add(&r, SLICE("250-size 1000"));
    smtp_reply_add(&r, SLICE("250 STARTTLS"));
    assert_true(smtp_reply_offers(&r, "SIZE", &value) && slice_is(value, "1000"));
    assert_true(smtp_reply_offers(&r, "STARTTLS", &value));
    assert_false(smtp_reply_offers(&r, "mx.test", &value)); /* the first line is the greeting */
    buf_free(&r.text);
}

static void pauses_grow_to_a_bound_and_messages_expire(void **state) {
    const struct retry_policy p = {
        .first_ms = 60000, .last_ms = 4 * 3600000, .lifetime_ms = 5 * 86400000LL, .warn_ms = 4 * 3600000};
    (void)state;
    int64_t before = 0;
    for (int attempt = 1; attempt < 20; attempt++) {
        int64_t pause = retry_pause_ms(&p, attempt, 0);
        assert_true(pause >= before && pause <= p.last_ms);
        assert_true(retry_pause_ms(&p, attempt, 999) <= pause + pause / 10);
        before = pause;
    }
    assert_int_equal(retry_pause_ms(&p, 1, 0), 60000);
    assert_int_equal(before, p.last_ms);
    assert_false(retry_is_expired(&p, 0, 5 * 86400000LL));
    assert_true(retry_is_expired(&p, 0, 5 * 86400000LL + 1));
}

static void reports_are_sent_as_notify_asks(void **state) {
    const struct retry_policy p = {.warn_ms = 1000};
    static const struct {
        const char *notify; /* NULL: not given */
        enum outcome_kind outcome;
        int64_t age;
        bool warned, passed_on;
        enum report_kind report;
    } cases[] = {
        {NULL, OUTCOME_BOUNCED, 0, false, false, REPORT_FAILED},
        {NULL, OUTCOME_DEFERRED, 500, false, false, REPORT_NONE},
        {NULL, OUTCOME_DEFERRED, 1500, false, false, REPORT_DELAYED},
        {NULL, OUTCOME_DEFERRED, 1500, true, false, REPORT_NONE}, /* once */
        {NULL, OUTCOME_DELIVERED, 0, false, false, REPORT_NONE},
        {"never", OUTCOME_BOUNCED, 0, false, false, REPORT_NONE},
        {"success", OUTCOME_BOUNCED, 0, false, false, REPORT_NONE},
        {"success", OUTCOME_DELIVERED, 0, false, false, REPORT_DELIVERED},
        {"success,failure", OUTCOME_SENT, 0, false, false, REPORT_RELAYED},
        {"success,failure", OUTCOME_SENT, 0, false, true, REPORT_NONE}, /* the next server will (RFC 3461 §5.2.2) */
        {"failure", OUTCOME_DEFERRED, 1500, false, false, REPORT_NONE},
        {"delay", OUTCOME_DEFERRED, 1500, false, false, REPORT_DELAYED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *rcpt = json_pack("{s:s?}", "notify", cases[i].notify);
        struct outcome o = {.kind = cases[i].outcome, .dsn_passed_on = cases[i].passed_on};
        assert_int_equal(report_wanted(rcpt, &o, cases[i].age, &p, cases[i].warned), cases[i].report);
        json_decref(rcpt);
    }
}

static void a_report_is_a_multipart_report_with_everything_in_it(void **state) {
    struct entry e = {.id = "01ARZ3NDEKTSV4RRFFQ69G5FAV"};
    e.envelope = json_pack("{s:s,s:s,s:I,s:n,s:[{s:s,s:s},{s:s}]}", "from", "alice@a.test", "envid", "ENV1", "received",
                           (json_int_t)1795513277000, "ret", "rcpts", "address", "bob@b.test", "orcpt",
                           "rfc822;robert@b.test", "address", "eve@b.test");
    struct report reports[] = {
        {REPORT_FAILED,
         0,
         {.kind = OUTCOME_BOUNCED,
          .code = 550,
          .enhanced = "5.1.1",
          .reason = "550 5.1.1 no\r\nX-Injected: yes",
          .host = "mx.b.test"}},
        {REPORT_FAILED, 1, {.kind = OUTCOME_BOUNCED, .code = 550, .enhanced = "5.2.2", .reason = "full", .host = ""}}};
    struct buf text = {0};
    char id[ULID_BYTES], again[ULID_BYTES];
    (void)state;
    bounce_id(e.id, 2, reports, id);
    bounce_id(e.id, 2, reports, again);
    assert_string_equal(id, again); /* law 2: made twice, it is one message */
    assert_true(ulid_is_valid(slice_of(id)) && strcmp(id, e.id) != 0);
    bounce_id(e.id, 1, reports, again);
    assert_string_not_equal(id, again);
    bounce_text("mx.a.test", id, &e, 2, reports, SLICE("From: alice@a.test\r\nSubject: s\r\n\r\nthe body\r\n"),
                1795513277000, &text);
    static const char *const wanted[] = {"To: <alice@a.test>\r\n",
                                         "Auto-Submitted: auto-replied\r\n", /* RFC 3834 */
                                         "multipart/report; report-type=delivery-status",
                                         "Content-Type: message/delivery-status\r\n",
                                         "Original-Envelope-Id: ENV1\r\n",
                                         "Reporting-MTA: dns; mx.a.test\r\n",
                                         "Original-Recipient: rfc822;robert@b.test\r\n",
                                         "Final-Recipient: rfc822; bob@b.test\r\nAction: failed\r\nStatus: 5.1.1\r\n",
                                         "Remote-MTA: dns; mx.b.test\r\n",
                                         "Final-Recipient: rfc822; eve@b.test\r\n",
                                         "text/rfc822-headers",
                                         "Subject: s\r\n"};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (!strstr(text.data, wanted[i])) print_error("missing: %s\n", wanted[i]);
        assert_non_null(strstr(text.data, wanted[i]));
    }
    assert_null(strstr(text.data, "\r\nX-Injected")); /* a peer's words begin no field */
    assert_null(strstr(text.data, "the body"));       /* RET was not FULL */
    buf_free(&text);
    json_decref(e.envelope);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_read_line_by_line),
        cmocka_unit_test(extensions_are_found_in_the_ehlo_reply),
        cmocka_unit_test(pauses_grow_to_a_bound_and_messages_expire),
        cmocka_unit_test(reports_are_sent_as_notify_asks),
        cmocka_unit_test(a_report_is_a_multipart_report_with_everything_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
