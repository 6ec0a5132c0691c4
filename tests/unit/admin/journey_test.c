#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "services/admin/admin.h"

static json_t *event(const char *type, const char *source, int second, const char *data) {
    char time[40], full[64];
    snprintf(time, sizeof time, "2026-11-24T10:00:0%d.000Z", second);
    snprintf(full, sizeof full, "postbus.mail.%s", type);
    json_t *parsed = json_loads(data, 0, NULL);
    assert_non_null(parsed);
    return json_pack("{s:s,s:s,s:s,s:o}", "type", full, "source", source, "time", time, "data", parsed);
}

static const struct {
    const char *type, *data;
    int steps[4];
    const char *first; /* the first sentence */
} cases[] = {
    {"accepted",
     "{\"origin\":\"submission\",\"from\":\"a@x\",\"size\":9,\"rcpts\":[{\"address\":\"b@y\"}],\"client\":{\"ip\":"
     "\"192.0.2.1\",\"login\":\"a@x\"}}",
     {1, 2, 3},
     "a@x wrote a message of 9 bytes and pressed Send"},
    {"accepted",
     "{\"origin\":\"mx\",\"from\":\"a@x\",\"rcpts\":[{\"address\":\"b@y\",\"user\":\"U\"}],\"client\":{\"ip\":\"192.0."
     "2.2\",\"helo\":\"mx.x\",\"tls\":\"TLSv1."
     "3\"},"
     "\"verdict\":{\"spf\":\"pass\",\"dkim\":[{\"result\":\"fail\"},{\"result\":\"pass\"}],\"dmarc\":{\"result\":"
     "\"pass\"}}}",
     {7, 8},
     "mx.x (192.0.2.2) delivered it from <a@x> over TLSv1.3; SPF pass, DKIM pass, DMARC pass, ARC none, reverse name "
     "none"},
    {"accepted",
     "{\"origin\":\"bounce\",\"from\":\"\",\"rcpts\":[{\"address\":\"a@x\"}]}",
     {8},
     "a report to a@x and on disk in the queue"},
    {"refused",
     "{\"client\":{\"ip\":\"192.0.2.3\",\"helo\":\"bad\"},\"code\":550,\"enhanced\":\"5.7.1\",\"reason\":\"no\"}",
     {7},
     "refused bad (192.0.2.3): 550 5.7.1 no"},
    {"routed",
     "{\"domain\":\"y\",\"hosts\":[{\"name\":\"mx1.y\"},{\"name\":\"mx2.y\"}],\"dnssec\":\"secure\",\"mta_sts\":{"
     "\"mode\":\"enforce\",\"mx\":[]},\"dane\":"
     "true}",
     {4, 5},
     "DNS was asked for the MX of y: mx1.y and mx2.y"},
    {"sent",
     "{\"rcpt\":\"b@y\",\"host\":\"mx.y\",\"ip\":\"192.0.2.4\",\"port\":25,\"tls\":\"TLSv1.3\",\"cipher\":\"C\",\"tls_"
     "verified\":\"dane\",\"reply\":\"250 "
     "ok\"}",
     {6},
     "mx.y [192.0.2.4]:25 accepted it for b@y over TLSv1.3 (C), identity proved by dane: 250 ok"},
    {"deferred", "{\"rcpt\":\"b@y\",\"attempt\":2,\"reason\":\"busy\"}", {6}, "not yet for b@y (attempt 2): busy"},
    {"bounced", "{\"rcpt\":\"b@y\",\"reason\":\"no such user\"}", {6}, "failed permanently for b@y: no such user"},
    {"bounced",
     "{\"rcpt\":\"b@y\",\"reason\":\"no such user\",\"dsn\":\"R1\"}",
     {6},
     "failed permanently for b@y: no such user; report R1 was sent to the sender"},
    {"deleted",
     "{\"from\":\"a@x\",\"rcpts\":[\"b@y\",\"c@y\"]}",
     {6},
     "deleted from the queue by an administrator, without a report: b@y and c@y"},
    {"delivered", "{\"rcpt\":\"b@y\",\"folder\":\"INBOX\",\"uid\":7}", {8}, "stored for b@y in INBOX as uid 7"},
    {"accepted",
     "{\"origin\":\"bounce\",\"queued\":false,\"rcpts\":[{\"address\":\"b@y\",\"user\":\"U\",\"folder\":\"Junk\","
     "\"uid\":7,"
     "\"modseq\":9}]}",
     {8, 8},
     "a report to b@y and in the mailbox at once"},
    {"announced",
     "{\"folder\":\"INBOX\",\"uid\":7,\"client\":{\"ip\":\"192.0.2.5\"},\"protocol\":\"imap\",\"tls\":\"TLSv1.3\"}",
     {9, 10},
     "the recipient's client at 192.0.2.5 is connected by IMAP over TLSv1.3"},
    {"fetched",
     "{\"size\":10,\"client\":{\"ip\":\"192.0.2.5\"},\"protocol\":\"imap\",\"tls\":\"\"}",
     {10},
     "the client at 192.0.2.5 read its 10 bytes by IMAP"},
    {"fetched",
     "{\"size\":10,\"client\":{\"ip\":\"192.0.2.5\"},\"protocol\":\"pop3\",\"tls\":\"\"}",
     {9, 10},
     "the recipient's client at 192.0.2.5 is connected by POP3 without TLS"},
    {"accepted", "{}", {8}, "accepted for nobody and on disk in the queue"},
    {"accepted",
     "{\"queued\":false,\"rcpts\":[{\"address\":\"b@y\"}]}",
     {8},
     "accepted for b@y and in the mailbox at once"},
    {"tls",
     "{\"policy\":{\"type\":\"sts\",\"string\":[\"mode: "
     "testing\"],\"domain\":\"y\"},\"result\":\"certificate-expired\",\"mx\":\"mx.y\",\"ip\":\"192.0.2.4\",\"reason\":"
     "\"old\"}",
     {6},
     "TLS with mx.y [192.0.2.4], policy MTA-STS of y: certificate-expired: old"},
    {"tls",
     "{\"policy\":{\"type\":\"tlsa\",\"string\":[],\"domain\":\"y\"},\"result\":\"dnssec-invalid\",\"mx\":\"mx.y\","
     "\"reason\":\"bogus\"}",
     {5},
     "TLS with mx.y, policy DANE of y: dnssec-invalid: bogus"},
    {"surprise", "{}", {0}, NULL},
};

static void each_event_shows_as_its_steps(void **state) {
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        json_t *events = json_pack("[o]", event(cases[c].type, "/smtpd/mx.x", 1, cases[c].data)),
               *steps = journey_steps(events);
        size_t n = 0;
        while (n < 4 && cases[c].steps[n]) n++;
        assert_int_equal(json_array_size(steps), n);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(json_integer_value(json_object_get(json_array_get(steps, i), "step")), cases[c].steps[i]);
        if (n)
            assert_string_equal(json_string_value(json_object_get(json_array_get(steps, 0), "what")), cases[c].first);
        if (n) assert_string_equal(json_string_value(json_object_get(json_array_get(steps, 0), "host")), "mx.x");
        json_decref(steps);
        json_decref(events);
    }
}

static const struct {
    const char *type, *data;
    size_t step; /* which of the event's steps */
    const char *lines[8];
} detailed[] = {
    {"accepted",
     "{\"origin\":\"mx\",\"verdict\":{\"spf\":{\"result\":\"pass\",\"reason\":\"ip4 "
     "matches\",\"domain\":\"x\",\"scope\":\"mfrom\"},"
     "\"spf_helo\":{\"result\":\"none\",\"reason\":\"\",\"domain\":\"mx.x\",\"scope\":\"helo\"},"
     "\"dkim\":[{\"result\":\"fail\",\"reason\":\"changed\",\"domain\":\"x\",\"selector\":\"s\",\"algorithm\":\"rsa-"
     "sha256\",\"bits\":2048,\"testing\":true}],"
     "\"dmarc\":{\"result\":\"fail\",\"reason\":\"not "
     "aligned\",\"from\":\"m.x\",\"record_domain\":\"x\",\"policy\":\"reject\",\"disposition\":\"none\","
     "\"overrides\":[{\"type\":\"local_policy\",\"comment\":\"arc=pass\"}]},"
     "\"arc\":{\"cv\":\"pass\",\"reason\":\"whole\",\"sets\":2,\"sealer\":\"list\"},\"iprev\":{\"result\":\"pass\","
     "\"name\":\"mx.x\"}}}",
     0,
     {"SPF of MAIL FROM x: pass: ip4 matches", "SPF of HELO mx.x: none",
      "DKIM d=x s=s: fail: changed (rsa-sha256, 2048 bits); the key is in testing",
      "DMARC of m.x: fail: not aligned; x asks for reject, done: none", "DMARC override local_policy: arc=pass",
      "ARC: pass: whole (2 sets, newest seal of list)", "reverse name: pass: mx.x"}},
    {"accepted",
     "{\"origin\":\"mx\",\"sealed\":\"z\",\"rcpts\":[{\"address\":\"b@y\",\"from\":\"SRS0=a@z\"},{\"address\":\"tls-"
     "reports@z\",\"user\":\"reporter\"},"
     "{\"address\":\"c@z\",\"user\":\"U\"}]}",
     1,
     {"b@y: its copy is forwarded from <SRS0=a@z>",
      "tls-reports@z is a report address: for the reporter, not for a mailbox",
      "ARC seal of z added with these results"}},
    {"accepted", "{\"origin\":\"mx\",\"verdict\":null,\"rcpts\":[{\"address\":\"c@z\",\"user\":\"U\"}]}", 0, {NULL}},
    {"refused", "{\"verdict\":{\"dkim\":[]}}", 0, {"DKIM: none: the message carries no signature"}},
    {"routed",
     "{\"hosts\":[{\"name\":\"mx.y\",\"dnssec\":\"secure\",\"tlsa\":[{}]},{\"name\":\"mx2.y\"}],\"mta_sts\":{\"mode\":"
     "\"testing\",\"mx\":[\"a\",\"*.b\"]}}",
     1,
     {"mx.y: secure by DNSSEC, 1 TLSA record", "MTA-STS allows the hosts a, *.b"}},
    {"tls", "{\"policy\":{\"type\":\"tlsa\",\"string\":[\"3 1 1 ab\"]},\"ip\":\"192.0.2.4\"}", 0, {"3 1 1 ab"}},
};

static void details_say_what_was_recorded_and_no_more(void **state) {
    (void)state;
    for (size_t c = 0; c < sizeof detailed / sizeof *detailed; c++) {
        json_t *events = json_pack("[o]", event(detailed[c].type, "/x/y", 1, detailed[c].data)),
               *steps = journey_steps(events);
        const json_t *lines = json_object_get(json_array_get(steps, detailed[c].step), "details");
        size_t n = 0;
        for (; detailed[c].lines[n]; n++) {
            assert_true(n < json_array_size(lines));
            assert_string_equal(json_string_value(json_array_get(lines, n)), detailed[c].lines[n]);
        }
        assert_int_equal(json_array_size(lines), n);
        json_decref(steps);
        json_decref(events);
    }
}

static void steps_are_in_the_order_of_time(void **state) {
    (void)state;
    json_t *events = json_pack("[o,o,o]", event("delivered", "/mailbox/h", 3, "{}"),
                               event("deferred", "/delivery/h", 1, "{}"), event("sent", "/delivery/h", 2, "{}"));
    json_t *steps = journey_steps(events);
    static const char *const names[] = {"deferred", "sent", "delivered"};
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(steps, i), "name")), names[i]);
    json_decref(steps);
    json_decref(events);
}

/* A direct delivery is told by the mailbox service before smtpd tells of the acceptance. */
static void the_acceptance_comes_first(void **state) {
    (void)state;
    json_t *events = json_pack("[o,o]", event("delivered", "/mailbox/h", 1, "{}"),
                               event("accepted", "/smtpd/h", 2, "{\"queued\":false}"));
    json_t *steps = journey_steps(events);
    assert_string_equal(json_string_value(json_object_get(json_array_get(steps, 0), "name")), "accepted");
    assert_string_equal(json_string_value(json_object_get(json_array_get(steps, 1), "name")), "delivered");
    json_decref(steps);
    json_decref(events);
}

static void what_is_no_event_is_left_out(void **state) {
    (void)state;
    json_t *events = json_pack("[i,s,{s:s},{s:s,s:s}]", 1, "x", "type", "postbus.mail.sent", "type",
                               "postbus.mail.sent", "data", "no object"),
           *steps = journey_steps(events);
    assert_int_equal(json_array_size(steps), 0);
    json_decref(steps);
    json_decref(events);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_shows_as_its_steps), cmocka_unit_test(details_say_what_was_recorded_and_no_more),
        cmocka_unit_test(steps_are_in_the_order_of_time), cmocka_unit_test(the_acceptance_comes_first),
        cmocka_unit_test(what_is_no_event_is_left_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
