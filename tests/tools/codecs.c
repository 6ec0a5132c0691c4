/* codecs: what the typed codecs (libcommon/codec) write, for checks against proto-schemas/, and
 * what they make of a text.
 *
 *   codecs write          a line for each sample: the schema's name below proto-schemas/, a tab,
 *                         the JSON
 *   codecs read NAME      standard input is a text of that schema: it is read and written again, in
 *                         the codec's own way
 *                         where there is a writer, as "name=value" words where there is none;
 *                         status 1 when it is
 *                         refused */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/codec/deliver.h"
#include "libcommon/codec/events.h"
#include "libcommon/codec/resolve.h"
#include "libcommon/codec/verify.h"

#define ID "01KAWQXV2D4J1T3Q3Z6E8M9R0S"
#define UTF8                                                                                                           \
    "gr\xc3\xbc\xc3\x9f@b\xc3\xbc"                                                                                     \
    "cher.test"
#define ODD "\"quoted \\\"\\\\ \t\"@x.test"

static void line(const char *schema, bool good, struct buf *json) {
    printf("%s\t%s\n", good ? schema : "refused", buf_str(json));
    buf_reset(json);
}

static void write_requests(struct buf *out) {
    char bytes[256];
    for (int i = 0; i < 256; i++) bytes[i] = (char)i;
    struct slice digest = slice_make(bytes, VERIFY_HASH_BYTES), header = slice_make(bytes, sizeof bytes);
    struct verify_ask verify = {.id = SLICE(ID), .client_ip = SLICE("2001:db8::1"), .helo = SLICE("mx.x.test")};
    line("rpc/verifier.verify.request", verify_ask_write(&verify, out), out);
    verify.mail_from = SLICE(UTF8);
    verify.tls = SLICE("TLSv1.3");
    verify.smtputf8 = true;
    verify.header = header;
    verify.hash_count = VERIFY_HASHES_MAX;
    for (size_t i = 0; i < VERIFY_HASHES_MAX; i++)
        verify.hashes[i] = (struct verify_hash){i % 2, (int64_t)i - 1, (int64_t)i * 1000 - 1000, digest};
    line("rpc/verifier.verify.request", verify_ask_write(&verify, out), out);
    verify.helo = SLICE("\xff");
    line("rpc/verifier.verify.request", verify_ask_write(&verify, out), out);

    struct sign_ask sign = {SLICE(ID), SLICE("x.test"), header, digest};
    line("rpc/verifier.sign.request", sign_ask_write(&sign, out), out);
    line("rpc/verifier.sign.reply", sign_reply_write(SLICE("DKIM-Signature: v=1;\r\n\tb=x\r\n"), out), out);

    line("rpc/accounts.resolve.request", resolve_ask_write(SLICE(ODD), out), out);
    struct resolve_user users[] = {{SLICE(ID), SLICE("a@x.test")}, {SLICE("reporter"), SLICE(UTF8)}};
    struct slice remotes[] = {SLICE("b@y.test"), SLICE(ODD)};
    struct resolve_reply resolved = {.kind = RESOLVE_UNKNOWN};
    line("rpc/accounts.resolve.reply", resolve_reply_write(&resolved, out), out);
    resolved.kind = RESOLVE_REMOTE;
    line("rpc/accounts.resolve.reply", resolve_reply_write(&resolved, out), out);
    resolved = (struct resolve_reply){RESOLVE_LOCAL, 2, 2, users, remotes};
    line("rpc/accounts.resolve.reply", resolve_reply_write(&resolved, out), out);
}

static void write_deliver(struct buf *out) {
    static const struct deliver_ask_rcpt rcpts[] = {{{"a@x.test", 8}, {ID, 26}}, {{UTF8, sizeof UTF8 - 1}, {ID, 26}}};
    static const struct deliver_ask_rcpt bad[] = {{{"\xff@x.test", 8}, {ID, 26}}};
    struct deliver_ask_message m = {.id = SLICE(ID), .attempt = SLICE("smtpd"), .count = 1, .rcpts = rcpts};
    struct json_put j = deliver_ask_open(out);
    size_t most = deliver_ask_bytes(&m) + 16;
    bool good = deliver_ask_add(&j, &m);
    m.rcpts = bad;
    good = good && !deliver_ask_add(&j, &m); /* nothing of it is left */
    m = (struct deliver_ask_message){.id = SLICE(ID),
                                     .from = SLICE(ODD),
                                     .folder = SLICE("Junk"),
                                     .attempt = SLICE("d1x"),
                                     .size = 1u << 31,
                                     .date = 1795513277,
                                     .held = true,
                                     .listing = SLICE("\0\1\2\xff"),
                                     .prefix = SLICE("Received: by \"mx\"\r\n\tfor <a@x.test>\r\n"),
                                     .count = 2,
                                     .rcpts = rcpts};
    most += deliver_ask_bytes(&m);
    good = good && deliver_ask_add(&j, &m);
    deliver_ask_close(&j);
    line("rpc/mailbox.deliver.request", good && !j.failed && out->n <= most, out);
}

static void write_events(struct buf *out) {
    static const struct mail_event_rcpt rcpts[] = {
        {{"a@x.test", 8}, {ID, 26}, {NULL, 0}, {"INBOX", 5}, 4294967295, 7},
        {{"b@y.test", 8}, {NULL, 0}, {"srs0=x@x.test", 13}, {NULL, 0}, 0, 0}};
    static const struct mail_event_client client = {.ip = {"192.0.2.1", 9},
                                                    .port = 65535,
                                                    .helo = {"mx", 2},
                                                    .protocol = {"smtp", 4},
                                                    .tls = {"TLSv1.3", 7},
                                                    .cipher = {"TLS_AES_256_GCM_SHA384", 22},
                                                    .login = {"a@x.test", 8}};
    struct mail_accepted accepted = {.shard = -1, .origin = SLICE("bounce"), .rcpt_count = 1, .rcpts = rcpts};
    line("events/mail.accepted", mail_accepted_write(&accepted, out), out);
    accepted = (struct mail_accepted){.queued = true,
                                      .shard = 15,
                                      .from = SLICE(UTF8),
                                      .message_id = SLICE("<\"odd\"@x.test>"),
                                      .origin = SLICE("mx"),
                                      .reply = SLICE("250 2.0.0 OK"),
                                      .sealed = SLICE("x.test"),
                                      .size = 4096,
                                      .client = &client,
                                      .verdict = SLICE("{\"disposition\":\"accept\"}"),
                                      .rcpt_count = 2,
                                      .rcpts = rcpts};
    line("events/mail.accepted", mail_accepted_write(&accepted, out), out);
    accepted.from = SLICE("\xc3");
    line("events/mail.accepted", mail_accepted_write(&accepted, out), out);
    struct mail_refused refused = {SLICE(UTF8), SLICE("5.7.1"), SLICE("no \"way\""),
                                   550,         &client,        SLICE("{\"disposition\":\"reject\"}"),
                                   1,           rcpts + 1};
    line("events/mail.refused", mail_refused_write(&refused, out), out);
    struct mail_sent sent = {.rcpt = SLICE(ODD),
                             .from = {NULL, 0},
                             .domain = SLICE("x.test"),
                             .host = SLICE("mx.x.test"),
                             .ip = SLICE("2001:db8::1"),
                             .tls_verified = SLICE("none"),
                             .reply = SLICE("ok \xff"),
                             .port = 25,
                             .code = 250};
    line("events/mail.sent", mail_sent_write(&sent, out), out);
    sent.from = SLICE("SRS0=a=b=c=d@x.test");
    sent.tls = SLICE("TLSv1.3");
    sent.cipher = SLICE("TLS_AES_256_GCM_SHA384");
    sent.tls_verified = SLICE("dane");
    sent.enhanced = SLICE("2.0.0");
    line("events/mail.sent", mail_sent_write(&sent, out), out);
    sent.rcpt = SLICE("\xff@x.test");
    line("events/mail.sent", mail_sent_write(&sent, out), out);
    struct mail_delivered delivered = {SLICE("a@x.test"), SLICE(ID), SLICE("Entw\xc3\xbcrfe"), 4294967295, 1};
    line("events/mail.delivered", mail_delivered_write(&delivered, out), out);
    struct mailbox_changed changed = {SLICE(ID), SLICE("delivered"), 0, INT64_MAX};
    line("events/mailbox.changed", mailbox_changed_write(&changed, out), out);
}

/* Reading */

static const char *read_verify_reply(struct arena *arena, struct slice text, struct buf *out) {
    struct verify_reply r;
    const char *fault = verify_reply_read(arena, text, &r);
    buf_printf(out, "disposition=%s enhanced=%s reason=%s dmarc=%s from=%s organizational=%s cv=%s sets=%lld drops=",
               r.disposition.p, r.enhanced.p, r.reason.p, r.dmarc_result.p, r.dmarc_from.p, r.organizational_domain.p,
               r.arc_cv.p, (long long)r.arc_sets);
    for (size_t i = 0; i < r.drop_count; i++) buf_printf(out, "%zu+%zu,", r.drops[i].offset, r.drops[i].n);
    buf_printf(out, " proofs=%.*s headers=%.*s", SLICE_FMT(r.proofs), SLICE_FMT(r.headers));
    return fault;
}

static const char *read_deliver_reply(struct arena *arena, struct slice text, struct buf *out) {
    struct deliver_reply r;
    const char *fault = deliver_reply_read(arena, text, &r);
    for (size_t i = 0; i < r.count; i++) {
        buf_printf(out, "id=%s ", r.messages[i].id.p);
        for (size_t k = 0; k < r.messages[i].count; k++) {
            const struct deliver_outcome *o = &r.messages[i].rcpts[k];
            buf_printf(out, "result=%s message=%s folder=%s uid=%lld modseq=%lld duplicate=%d ", o->result.p,
                       o->message.p, o->folder.p, (long long)o->uid, (long long)o->modseq, o->duplicate);
        }
    }
    return fault;
}

static const char *read_again(const char *name, struct arena *arena, struct slice text, struct buf *out) {
    const char *fault = "there is no such schema";
    if (strcmp(name, "rpc/verifier.verify.request") == 0) {
        struct verify_ask a;
        if (!(fault = verify_ask_read(arena, text, &a))) verify_ask_write(&a, out);
    } else if (strcmp(name, "rpc/verifier.verify.reply") == 0) {
        fault = read_verify_reply(arena, text, out);
    } else if (strcmp(name, "rpc/verifier.sign.request") == 0) {
        struct sign_ask a;
        if (!(fault = sign_ask_read(arena, text, &a))) sign_ask_write(&a, out);
    } else if (strcmp(name, "rpc/verifier.sign.reply") == 0) {
        struct slice headers;
        if (!(fault = sign_reply_read(arena, text, &headers))) sign_reply_write(headers, out);
    } else if (strcmp(name, "rpc/accounts.resolve.request") == 0) {
        struct slice address;
        if (!(fault = resolve_ask_read(arena, text, &address))) resolve_ask_write(address, out);
    } else if (strcmp(name, "rpc/accounts.resolve.reply") == 0) {
        struct resolve_reply r;
        if (!(fault = resolve_reply_read(arena, text, &r))) resolve_reply_write(&r, out);
    } else if (strcmp(name, "rpc/mailbox.deliver.reply") == 0) {
        fault = read_deliver_reply(arena, text, out);
    } else if (strcmp(name, "events/mailbox.changed") == 0) { /* the whole CloudEvent */
        struct mailbox_changed e;
        if (!(fault = mailbox_changed_read(arena, text, &e))) mailbox_changed_write(&e, out);
    }
    return fault;
}

int main(int argc, char **argv) {
    struct buf out = {0}, text = {0};
    struct arena *arena = arena_create();
    const char *fault = NULL;
    if (argc == 3 && strcmp(argv[1], "read") == 0) {
        for (int c; (c = getchar()) != EOF;) buf_add_char(&text, (char)c);
        fault = read_again(argv[2], arena, buf_slice(&text), &out);
        puts(fault ? fault : buf_str(&out));
    } else if (argc == 2 && strcmp(argv[1], "write") == 0) {
        write_requests(&out);
        write_deliver(&out);
        write_events(&out);
    } else {
        fputs("usage: codecs write | codecs read NAME\n", stderr);
        return 2;
    }
    buf_free(&out);
    buf_free(&text);
    arena_destroy(arena);
    return fault ? 1 : 0;
}
