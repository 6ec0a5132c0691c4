/* An envelope's text is read back as it was written; what is damaged is refused whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libcommon/codec/envelope.h"

#define ID "01ARZ3NDEKTSV4RRFFQ69G5FAV"

static void assert_text(struct slice s, const char *text) {
    assert_int_equal(s.n, strlen(text));
    assert_memory_equal(s.p, text, s.n);
    assert_int_equal(s.p[s.n], 0); /* decoded texts end with a NUL */
}

static void what_is_written_is_read(void **state) {
    (void)state;
    struct envelope_rcpt rcpts[] = {
        {.address = SLICE("bob@beta.test"), .user = SLICE("7"), .orcpt = SLICE("rfc822;bob+40beta.test")},
        {.address = SLICE("\xc3\xbcx@\xc3\xbc.test"),
         .from = SLICE("SRS0=a=b@alpha.test"),
         .notify = SLICE("success,delay")},
        {.address = SLICE("\"a\\\"b\"@c.test"), .from = SLICE("")},
    };
    struct envelope e = {.id = ID,
                         .from = SLICE("alice@alpha.test"),
                         .origin = ORIGIN_MX,
                         .size = 12345678901,
                         .message_id = SLICE("<1@x>"),
                         .received_ms = 1700000000123,
                         .smtputf8 = true,
                         .require_tls = true,
                         .body = BODY_8BITMIME,
                         .ret = SLICE("hdrs"),
                         .envid = SLICE("e\xff"),
                         .folder = SLICE("Junk"),
                         .hold = SLICE("held: \xc3\xbc"),
                         .prefix = SLICE("Received: from a\r\n\tby b\r\n"),
                         .priority = -9,
                         .text_in_queue = true,
                         .rcpt_count = 3,
                         .rcpts = rcpts};
    struct buf text = {0}, again = {0};
    envelope_encode(&e, &text);
    struct envelope *d = envelope_decode(ID, buf_slice(&text));
    assert_non_null(d);
    assert_string_equal(d->id, ID);
    assert_text(d->from, "alice@alpha.test");
    assert_int_equal(d->origin, ORIGIN_MX);
    assert_true(d->size == 12345678901 && d->received_ms == 1700000000123);
    assert_text(d->message_id, "<1@x>");
    assert_true(d->smtputf8 && d->require_tls);
    assert_int_equal(d->body, BODY_8BITMIME);
    assert_text(d->ret, "hdrs");
    assert_text(d->envid, "e\xff");
    assert_text(d->folder, "Junk");
    assert_text(d->hold, "held: \xc3\xbc");
    assert_text(d->prefix, "Received: from a\r\n\tby b\r\n");
    assert_int_equal(d->priority, -9);
    assert_true(d->text_in_queue);
    assert_int_equal(d->rcpt_count, 3);
    assert_text(d->rcpts[0].address, "bob@beta.test");
    assert_text(d->rcpts[0].user, "7");
    assert_text(d->rcpts[0].orcpt, "rfc822;bob+40beta.test");
    assert_text(d->rcpts[0].notify, "");
    assert_null(d->rcpts[0].from.p);
    assert_text(d->rcpts[1].address, "\xc3\xbcx@\xc3\xbc.test");
    assert_text(d->rcpts[1].notify, "success,delay");
    assert_text(envelope_from(d, 0), "alice@alpha.test");
    assert_text(envelope_from(d, 1), "SRS0=a=b@alpha.test");
    assert_text(envelope_from(d, 2), "");
    assert_text(d->rcpts[2].address, "\"a\\\"b\"@c.test");
    for (size_t i = 0; i < 3; i++) assert_int_equal(d->rcpts[i].state, RCPT_DUE);
    envelope_encode(d, &again);
    assert_true(slice_equal(buf_slice(&text), buf_slice(&again)));
    envelope_destroy(d);
    buf_free(&text);
    buf_free(&again);
}

static void a_state_is_read_back(void **state) {
    (void)state;
    struct envelope *e =
        envelope_decode(ID, SLICE("{\"from\":\"\",\"origin\":\"bounce\",\"rcpts\":[{\"address\":\"a@b\"}]}"));
    struct envelope_rcpt r = {.state = RCPT_BOUNCED,
                              .owed = REPORT_FAILED,
                              .attempts = 3,
                              .next_ms = 1700000000123,
                              .warned = true,
                              .code = 550,
                              .enhanced = SLICE("5.1.1"),
                              .reply = SLICE("no\r\nsuch \xff user"),
                              .host = SLICE("mx.b")};
    struct buf text = {0};
    assert_non_null(e);
    assert_text(e->from, "");
    envelope_encode_state(&r, &text);
    assert_int_equal(envelope_decode_state(e, 1, buf_slice(&text)), -1);
    assert_int_equal(envelope_decode_state(e, 0, buf_slice(&text)), 0);
    const struct envelope_rcpt *d = e->rcpts;
    assert_text(d->address, "a@b");
    assert_true(d->state == RCPT_BOUNCED && d->owed == REPORT_FAILED && d->attempts == 3 && d->warned &&
                d->code == 550);
    assert_true(d->next_ms == 1700000000123);
    assert_text(d->enhanced, "5.1.1");
    assert_text(d->reply, "no\r\nsuch \xff user");
    assert_text(d->host, "mx.b");
    /* A damaged one changes nothing. */
    assert_int_equal(envelope_decode_state(e, 0, SLICE("{\"state\":\"sent\",\"attempts\":-1}")), -1);
    assert_int_equal(envelope_decode_state(e, 0, SLICE("{}")), -1);
    assert_int_equal(envelope_decode_state(e, 0, SLICE("{\"state\":\"sent\",\"owed\":\"much\"}")), -1);
    assert_int_equal(d->state, RCPT_BOUNCED);
    buf_free(&text);
    envelope_destroy(e);
}

static void what_is_damaged_is_refused(void **state) {
    static const char *const damaged[] = {
        "",
        "[]",
        "{",
        "{\"from\":\"\",\"origin\":\"mx\"}",
        "{\"from\":\"\",\"origin\":\"mx\",\"rcpts\":[]}",
        "{\"from\":\"\",\"origin\":\"mx\",\"rcpts\":{}}",
        "{\"from\":\"\",\"origin\":\"mx\",\"rcpts\":[{}]}",
        "{\"from\":\"\",\"origin\":\"mx\",\"rcpts\":[7]}",
        "{\"from\":\"\",\"origin\":\"mx\",\"rcpts\":[{\"address\":\"\"}]}",
        "{\"from\":\"\",\"origin\":\"post\",\"rcpts\":[{\"address\":\"a@b\"}]}",
        "{\"from\":\"\",\"rcpts\":[{\"address\":\"a@b\"}]}",
        "{\"from\":null,\"origin\":\"mx\",\"rcpts\":[{\"address\":\"a@b\"}]}",
        "{\"origin\":\"mx\",\"rcpts\":[{\"address\":\"a@b\"}]}",
        "{\"from\":\"\",\"origin\":\"mx\",\"size\":-1,\"rcpts\":[{\"address\":\"a@b\"}]}",
        "{\"from\":\"\",\"origin\":\"mx\",\"size\":18446744073709551615,\"rcpts\":[{\"address\":\"a@b\"}]}",
        "{\"from\":\"\",\"origin\":\"mx\",\"size\":1.5,\"rcpts\":[{\"address\":\"a@b\"}]}",
        "{\"from\":\"\",\"origin\":\"mx\",\"priority\":10,\"rcpts\":[{\"address\":\"a@b\"}]}",
        "{\"from\":\"\",\"origin\":\"mx\",\"smtputf8\":1,\"rcpts\":[{\"address\":\"a@b\"}]}",
        "{\"from\":\"\",\"origin\":\"mx\",\"rcpts\":[{\"address\":\"a@b\",\"user\":7}]}",
        "{\"from\":\"\",\"origin\":\"mx\",\"rcpts\":[{\"address\":\"a@b\"}]} x",
    };
    (void)state;
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        struct envelope *e = envelope_decode(ID, slice_of(damaged[i]));
        if (e) print_error("taken: %s\n", damaged[i]);
        assert_null(e);
    }
    struct buf many = {0};
    buf_add_str(&many, "{\"from\":\"\",\"origin\":\"mx\",\"rcpts\":[{\"address\":\"a@b\"}");
    for (int i = 0; i < ENVELOPE_RCPTS_MAX; i++) buf_add_str(&many, ",{\"address\":\"a@b\"}");
    buf_add_str(&many, "]}");
    assert_null(envelope_decode(ID, buf_slice(&many)));
    buf_free(&many);
    envelope_destroy(NULL);
}

static void the_domain_follows_the_last_at_sign(void **state) {
    (void)state;
    assert_true(slice_is(envelope_domain(SLICE("\"a@b\"@c.test")), "c.test"));
    assert_true(slice_is(envelope_domain(SLICE("postmaster")), ""));
    assert_true(slice_is(envelope_domain(SLICE("")), ""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_state_is_read_back),
        cmocka_unit_test(what_is_damaged_is_refused),
        cmocka_unit_test(the_domain_follows_the_last_at_sign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
