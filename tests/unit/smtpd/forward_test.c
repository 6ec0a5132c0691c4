/* Under which reverse-path mail goes on that an alias leads elsewhere: a table of senders, verdicts
 * and aliases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/smtpd/smtpd.h"

static struct worker worker = {.hostname = "mx.ours.test"};
static struct smtpd smtpd = {.worker = &worker};
static struct session session = {.smtpd = &smtpd, .port = PORT_MX};

static int start(void **state) {
    (void)state;
    session.t.arena = arena_create();
    return srs_keys_read(SLICE("the key of this test, a line"), &smtpd.srs);
}

static int stop(void **state) {
    (void)state;
    arena_destroy(session.t.arena);
    return 0;
}

static struct verify_reply verdict(const char *dmarc, const char *from, const char *organizational) {
    return (struct verify_reply){.dmarc_result = slice_of(dmarc),
                                 .dmarc_from = slice_of(from),
                                 .organizational_domain = slice_of(organizational)};
}

static void the_reverse_path(void **state) {
    (void)state;
    static const struct {
        const char *sender, *via, *dmarc;
        const char *starts, *ends; /* NULL: stays */
    } cases[] = {
        {"ann@author.test", "ours.test", "pass", "SRS0=", "=author.test=ann@ours.test"},
        {"ann@author.test", "ours.test", "none", "SRS0=", "=author.test=ann@ours.test"},
        {"ann@author.test", "ours.test", "permerror", "SRS0=", "=author.test=ann@ours.test"},
        {"ann@author.test", "ours.test", "fail", NULL, NULL},
        {"ann@author.test", "ours.test", "temperror", NULL, NULL}, /* it may be forged: nobody knows */
        {"ann@author.test", NULL, "pass", NULL, NULL},             /* delivered here */
        {"", "ours.test", "pass", NULL, NULL},
        {"bob@ours.test", "ours.test", "pass", NULL, NULL},
        {"bob@OURS.test", "ours.test", "pass", NULL, NULL},
        {"bob@sub.ours.test", "ours.test", "pass", "SRS0=", "=sub.ours.test=bob@ours.test"},
        {"bob@[192.0.2.1]", "ours.test", "pass", "\"SRS0=", "=[192.0.2.1]=bob\"@ours.test"},
        {"SRS0=abcd=xy=far.test=carl@one.test", "ours.test", "pass",
         "SRS1=", "=one.test==abcd=xy=far.test=carl@ours.test"},
        {"a-very-long-sender-that-fills-the-whole-local-part@author.test", "ours.test", "pass", "postmaster",
         "postmaster@ours.test"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rcpt rcpt = {.address = SLICE("x@remote.test"), .via = cases[i].via};
        struct verify_reply v = verdict(cases[i].dmarc, "author.test", NULL);
        session.t.from = slice_of(cases[i].sender);
        session.t.rcpts = &rcpt;
        forward_rewrite(&session, &v);
        struct slice path = slice_of(rcpt.from), end = slice_of(cases[i].ends);
        bool good = cases[i].starts ? slice_starts(path, slice_of(cases[i].starts)) && path.n >= end.n &&
                                          slice_equal(slice_skip(path, path.n - end.n), end)
                                    : !rcpt.from;
        if (!good)
            fail_msg("%s by way of %s, DMARC %s: %s", cases[i].sender, cases[i].via ? cases[i].via : "none",
                     cases[i].dmarc, rcpt.from ? rcpt.from : "stays");
    }
    session.t.rcpts = NULL;
}

/* Without a sender SPF asks about mx.ours.test, which is aligned with all of its organisational
 * domain. */
static void what_our_greeting_would_prove(void **state) {
    (void)state;
    static const struct {
        const char *sender, *from, *organizational;
        bool proves;
    } cases[] = {
        {"", "ours.test", "ours.test", true},
        {"", "sub.ours.test", "ours.test", true},
        {"", "ours.test", NULL, true},
        {"", "mx.ours.test", NULL, true},
        {"", "OURS.test", NULL, true},
        {"", "author.test", "author.test", false},
        {"", "rs.test", NULL, false},
        {"", "", NULL, false},
        {"ann@author.test", "ours.test", "ours.test", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct verify_reply v = verdict("fail", cases[i].from, cases[i].organizational);
        session.t.from = slice_of(cases[i].sender);
        if (forward_greeting_proves(&session, &v) != cases[i].proves)
            fail_msg("<%s>, From %s", cases[i].sender, cases[i].from);
    }
}

static void the_domain_that_hands_on(void **state) {
    (void)state;
    struct rcpt there = {.address = SLICE("x@remote.test"), .via = "ours.test"},
                here = {.address = SLICE("bob@ours.test"), .user = "u", .next = &there};
    session.t.rcpts = &here;
    assert_string_equal(forward_domain(&session), "ours.test");
    here.next = NULL;
    assert_null(forward_domain(&session));
    session.t.rcpts = NULL;
    assert_string_equal(forward_via(&session, SLICE("Alias@B\xc3\xbc"
                                                    "cher.TEST")),
                        "xn--bcher-kva.test");
    session.port = PORT_SUBMISSION; /* one's own mail to an alias is no forwarding: its sender is
                                       proven, and ours */
    assert_null(forward_via(&session, SLICE("alias@ours.test")));
    session.port = PORT_MX;
}

static void reports_come_back(void **state) {
    (void)state;
    struct rcpt rcpt = {.address = SLICE("x@remote.test"), .via = "ours.test"};
    struct verify_reply v = verdict("pass", "author.test", NULL);
    session.t.from = SLICE("Ann@author.test");
    session.t.rcpts = &rcpt;
    forward_rewrite(&session, &v);
    session.t.rcpts = NULL;
    struct slice address = slice_of(rcpt.from);
    assert_int_equal(forward_return(&session, &address), RETURN_WITH_SENDER);
    assert_true(slice_is(address, rcpt.from));
    session.t.from = SLICE("");
    assert_int_equal(forward_return(&session, &address), RETURN_TAKEN);
    assert_true(slice_is(address, "Ann@author.test"));
    assert_int_equal(forward_return(&session, &address), RETURN_NONE);
    address = SLICE("SRS0=AAAAAA=AA=author.test=ann@ours.test");
    assert_int_equal(forward_return(&session, &address), RETURN_FORGED);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_reverse_path),
                                       cmocka_unit_test(what_our_greeting_would_prove),
                                       cmocka_unit_test(the_domain_that_hands_on), cmocka_unit_test(reports_come_back)};
    return cmocka_run_group_tests(tests, start, stop);
}
