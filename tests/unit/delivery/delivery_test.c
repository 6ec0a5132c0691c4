/* What delivery decides without asking anybody: replies, retries, reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/codec/envelope.h"
#include "services/delivery/destination/window.h"
#include "services/delivery/limits.h"
#include "services/delivery/report/dsn.h"
#include "services/delivery/session/reply.h"
#include "services/delivery/transaction/outcome.h"

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
        {"550 \xff\x01oops", 1, 550, "5.0.0", "550 ? oops"}, /* what the peer says never breaks our
                                                                JSON */
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
        enum rcpt_report report;
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
        const struct envelope_rcpt rcpt = {.notify = slice_of(cases[i].notify), .warned = cases[i].warned};
        struct outcome o = {.kind = cases[i].outcome, .dsn_passed_on = cases[i].passed_on};
        assert_int_equal(outcome_report(&rcpt, &o, cases[i].age, &p), cases[i].report);
    }
}

static void an_outcome_makes_a_state(void **state) {
    const struct retry_policy p = {
        .first_ms = 60000, .last_ms = 4 * 3600000, .lifetime_ms = 5 * 86400000LL, .warn_ms = 4 * 3600000};
    struct arena *arena = arena_create();
    struct envelope_rcpt rcpts[1] = {{.address = SLICE("bob@b.test")}};
    struct envelope e = {
        .arena = arena, .from = SLICE("a@a.test"), .received_ms = 1000, .rcpt_count = 1, .rcpts = rcpts};
    struct outcome later = {
        .kind = OUTCOME_DEFERRED, .code = 450, .enhanced = "4.2.0", .reason = "450 later", .host = "mx.b.test"};
    (void)state;
    outcome_apply(&e, 0, &later, &p, 2000, 0);
    assert_true(rcpts[0].state == RCPT_DEFERRED && rcpts[0].attempts == 1 && rcpts[0].next_ms == 62000);
    assert_true(rcpts[0].code == 450 && slice_is(rcpts[0].host, "mx.b.test") && rcpts[0].owed == REPORT_NONE);
    later.not_counted = true; /* a fault of ours */
    later.retry_ms = 5;
    outcome_apply(&e, 0, &later, &p, 3000, 0);
    assert_true(rcpts[0].attempts == 1 && rcpts[0].next_ms == 3005);
    outcome_apply(&e, 0, &later, &p, 1000 + p.warn_ms + 1, 0);
    assert_true(rcpts[0].owed == REPORT_DELAYED && rcpts[0].warned);
    rcpts[0].owed = REPORT_NONE;
    outcome_apply(&e, 0, &later, &p, 1000 + p.warn_ms + 2, 0);
    assert_int_equal(rcpts[0].owed, REPORT_NONE); /* once */
    outcome_apply(&e, 0, &later, &p, 1000 + p.lifetime_ms + 1, 0);
    assert_true(rcpts[0].state == RCPT_BOUNCED && rcpts[0].owed == REPORT_FAILED && rcpts[0].next_ms == 0);
    e.from = SLICE("");
    rcpts[0].owed = REPORT_NONE;
    later.kind = OUTCOME_BOUNCED;
    outcome_apply(&e, 0, &later, &p, 2000, 0);
    assert_int_equal(rcpts[0].owed, REPORT_NONE); /* RFC 5321 §4.5.5: nobody is told of a report
                                                     that bounces */
    arena_destroy(arena);
}

static void a_window_grows_and_shrinks(void **state) {
    const struct retry_policy p = {.first_ms = 1000, .last_ms = 4 * 3600000};
    struct window w = window_begin();
    (void)state;
    assert_int_equal(window_allows(&w, 20), DESTINATION_WINDOW_START);
    for (int i = 0; i < 100; i++) window_succeeded(&w, 20, 100000 + i);
    assert_int_equal(window_allows(&w, 20), 20);
    assert_int_equal(window_allows(&w, 5), 5); /* other workers came */
    window_crowded(&w, 3, 200000);
    assert_int_equal(window_allows(&w, 20), 3);
    window_succeeded(&w, 20, 200001);
    assert_int_equal(window_allows(&w, 20), 3); /* not at once */
    window_succeeded(&w, 20, 260001);
    assert_int_equal(window_allows(&w, 20), 4);
    window_failed(&w, &p, 300000, 0);
    assert_true(window_is_closed(&w, 300999) && !window_is_closed(&w, 301000) && !w.proven);
    assert_int_equal(window_allows(&w, 20), 1);
    window_failed(&w, &p, 301000, 0);
    assert_true(window_is_closed(&w, 305999)); /* longer each time */
    window_succeeded(&w, 20, 306000);
    assert_true(w.proven && !window_is_closed(&w, 306000) && w.failures == 0);
    /* any number of destinations that never answer: their waiting transactions stay within the
     * worker's bound */
    struct window dead = window_begin();
    size_t waiting = 0;
    for (int i = 0; i < 500; i++)
        for (size_t own = 0; own < window_room(&dead, waiting); own++) waiting++;
    assert_true(window_room(&dead, 0) > 100 && waiting < DELIVERY_MESSAGES_MAX);
    assert_int_equal(window_room(&w, 0), DESTINATION_WAITING_LEAST + DESTINATION_WAITING_MAX); /* one that takes mail */
    assert_int_equal(window_room(&w, DELIVERY_MESSAGES_MAX), DESTINATION_WAITING_LEAST);
    assert_true(window_park_ms(0, 0) >= DESTINATION_PARK_MS &&
                window_park_ms(86400000, 999) <= DESTINATION_PARK_LAST_MS * 3 / 2);
}

static void a_report_is_a_multipart_report_with_everything_in_it(void **state) {
    struct envelope_rcpt rcpts[] = {
        {.address = SLICE("bob@b.test"),
         .orcpt = SLICE("rfc822;robert+2Bx@b.test"),
         .enhanced = SLICE("5.1.1"),
         .reply = SLICE("550 5.1.1 no\r\nX-Injected: yes"),
         .host = SLICE("mx.b.test")},
        {.address = SLICE("eve@b.test"), .enhanced = SLICE("5.2.2"), .reply = SLICE("full")}};
    struct envelope e = {.id = "01ARZ3NDEKTSV4RRFFQ69G5FAV",
                         .from = SLICE("alice@a.test"),
                         .envid = SLICE("ENV+3D1"),
                         .received_ms = 1795513277000,
                         .rcpt_count = 2,
                         .rcpts = rcpts};
    const size_t indexes[] = {0, 1};
    struct buf text = {0};
    char id[ULID_BYTES], again[ULID_BYTES];
    (void)state;
    dsn_id(&e, REPORT_FAILED, 2, indexes, id);
    dsn_id(&e, REPORT_FAILED, 2, indexes, again);
    assert_string_equal(id, again); /* docs/laws.md, law 2: made twice, it is one message */
    assert_true(ulid_is_valid(slice_of(id)) && strcmp(id, e.id) != 0);
    dsn_id(&e, REPORT_FAILED, 1, indexes, again);
    assert_string_not_equal(id, again);
    dsn_text("mx.a.test", id, &e, REPORT_FAILED, 2, indexes,
             SLICE("From: alice@a.test\r\nSubject: s\r\n\r\nthe body\r\n"), 1795513277000, &text);
    static const char *const wanted[] = {"To: <alice@a.test>\r\n",
                                         "Auto-Submitted: auto-replied\r\n", /* RFC 3834 */
                                         "multipart/report; report-type=delivery-status",
                                         "Content-Type: message/delivery-status\r\n",
                                         "Original-Envelope-Id: ENV=1\r\n",
                                         "Reporting-MTA: dns; mx.a.test\r\n",
                                         "Original-Recipient: rfc822; robert+x@b.test\r\n",
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
}

static void each_kind_of_report_has_its_own_words(void **state) {
    static const struct {
        enum rcpt_report kind;
        const char *subject, *action;
    } cases[] = {
        {REPORT_FAILED, "Subject: Your message could not be delivered\r\n", "Action: failed\r\n"},
        {REPORT_DELAYED, "Subject: Your message is delayed\r\n", "Action: delayed\r\n"},
        {REPORT_DELIVERED, "Subject: Your message was delivered\r\n", "Action: delivered\r\n"},
        {REPORT_RELAYED, "Subject: Your message was handed on\r\n", "Action: relayed\r\n"},
    };
    struct envelope_rcpt rcpt = {.address = SLICE("b\303\274cher@b.test"), .enhanced = SLICE("2.0.0")};
    struct envelope e = {
        .id = "01ARZ3NDEKTSV4RRFFQ69G5FAV", .from = SLICE("a@a.test"), .rcpt_count = 1, .rcpts = &rcpt};
    const size_t index = 0;
    struct buf text = {0};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_reset(&text);
        dsn_text("mx.a.test", e.id, &e, cases[i].kind, 1, &index, SLICE("A: b\r\n\r\n"), 0, &text);
        assert_non_null(strstr(text.data, cases[i].subject));
        assert_non_null(strstr(text.data, cases[i].action));
        /* RFC 6533 §3: to a sender without UTF-8 the address goes in ASCII */
        assert_non_null(strstr(text.data, "Final-Recipient: utf-8; b\\x{FC}cher@b.test\r\n"));
    }
    assert_false(dsn_needs_smtputf8(&e));
    e.from = SLICE("\303\244@a.test");
    buf_reset(&text);
    dsn_text("mx.a.test", e.id, &e, REPORT_FAILED, 1, &index, SLICE("A: \303\244\r\n\r\n"), 0, &text);
    assert_true(dsn_needs_smtputf8(&e));
    assert_non_null(strstr(text.data, "Final-Recipient: utf-8; b\303\274cher@b.test\r\n"));
    assert_non_null(strstr(text.data, "message/global-delivery-status"));
    assert_non_null(strstr(text.data, "message/global-headers"));
    buf_free(&text);
}

static void xtext_is_decoded_unless_it_breaks_a_field(void **state) {
    static const struct {
        const char *xtext, *text;
    } cases[] = {{"a+2Bb", "a+b"}, {"a+3Db", "a=b"}, {"a+0D+0AX: y", "a+0D+0AX: y"},
                 {"+", "+"},       {"a+4", "a+4"},   {"", ""}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        dsn_add_xtext(&out, slice_of(cases[i].xtext));
        assert_true(slice_is(buf_slice(&out), cases[i].text));
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_read_line_by_line),
        cmocka_unit_test(extensions_are_found_in_the_ehlo_reply),
        cmocka_unit_test(pauses_grow_to_a_bound_and_messages_expire),
        cmocka_unit_test(reports_are_sent_as_notify_asks),
        cmocka_unit_test(an_outcome_makes_a_state),
        cmocka_unit_test(a_window_grows_and_shrinks),
        cmocka_unit_test(each_kind_of_report_has_its_own_words),
        cmocka_unit_test(xtext_is_decoded_unless_it_breaks_a_field),
        cmocka_unit_test(a_report_is_a_multipart_report_with_everything_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
