/* codecs [ROUNDS]: what the hot messages cost in microseconds, by jansson as the rare ones are
 * written and read, and by the typed codecs. One thread; run it pinned to a core (taskset -c 1). */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/codec/deliver.h"
#include "libcommon/codec/events.h"
#include "libcommon/codec/verify.h"

#define ID "01KAWQXV2D4J1T3Q3Z6E8M9R0S"
#define S(text) {text, sizeof text - 1}
enum { HEADER_BYTES = 2000, LISTING_BYTES = 1500 };

static char header[HEADER_BYTES], listing[LISTING_BYTES];
static const char verdict[] =
    "{\"disposition\":\"accept\",\"code\":0,\"enhanced\":\"\",\"reason\":\"\",\"headers\":\"Authentication-Results: "
    "mx.alpha.test;\\r\\n\\tspf=pass smtp.mailfrom=load.test;\\r\\n\\tdkim=pass header.d=load.test;\\r\\n\\tdmarc=pass "
    "header.from=load.test\\r\\nReceived-SPF: pass (x) client-ip=192.0.2.1\\r\\n\",\"drop\":[],\"spf\":{\"result\":"
    "\"pass\",\"reason\":\"\",\"domain\":\"load.test\",\"scope\":\"mfrom\",\"mechanism\":\"ip4:192.0.2.0/"
    "24\",\"record_domain\":\"load.test\",\"lookups\":1,\"void_lookups\":0},\"spf_helo\":null,\"dkim\":[{\"result\":"
    "\"pass\",\"reason\":\"\",\"domain\":\"load.test\",\"selector\":\"s1\",\"algorithm\":\"rsa-sha256\",\"bits\":2048,"
    "\"testing\":false}],\"dmarc\":{\"result\":\"pass\",\"policy\":\"reject\",\"disposition\":\"none\",\"reason\":\"\","
    "\"from\":\"load.test\",\"record_domain\":\"load.test\",\"organizational_domain\":\"\",\"spf_aligned\":true,"
    "\"dkim_aligned\":true,\"published\":{\"p\":\"reject\",\"sp\":null,\"np\":null,\"adkim\":\"r\",\"aspf\":\"r\","
    "\"pct\":100,\"t\":\"n\",\"psd\":\"u\",\"fo\":\"0\",\"rua\":\"mailto:r@load.test\",\"ruf\":null},\"overrides\":[]},"
    "\"arc\":{\"cv\":\"none\",\"reason\":\"\",\"sets\":0,\"oldest_pass\":0,\"sealer\":\"\"},\"iprev\":{\"result\":"
    "\"pass\",\"name\":\"mx.load.test\"}}";
static const struct mail_event_rcpt rcpts[] = {{S("ann@alpha.test"), S(ID), {NULL, 0}}};
static const struct mail_event_client client = {
    .ip = S("192.0.2.1"), .port = 4711, .helo = S("mx.load.test"), .protocol = S("smtp")};
static struct verify_ask ask = {.id = S(ID),
                                .client_ip = S("192.0.2.1"),
                                .helo = S("mx.load.test"),
                                .mail_from = S("a@load.test"),
                                .hash_count = 1};

static json_t *base64_json(const char *bytes, size_t n) {
    struct buf b = {0};
    base64_encode(slice_make(bytes, n), &b);
    json_t *text = json_stringn_nocheck(b.data, b.n);
    buf_free(&b);
    return text;
}

static int add(const char *bytes, size_t n, void *ctx) {
    buf_add(ctx, bytes, n);
    return 0;
}

static void dump(json_t *j, struct buf *out) {
    json_dump_callback(j, add, out, JSON_COMPACT);
    json_decref(j);
}

/* verifier.verify */

static void ask_write_jansson(struct buf *out) {
    dump(json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:[{s:s,s:s,s:n,s:I,s:o}],s:o}", "id", ID, "client_ip", "192.0.2.1",
                   "helo", "mx.load.test", "mail_from", "a@load.test", "tls", "", "smtputf8", 0, "body_hashes", "canon",
                   "relaxed", "algorithm", "sha256", "length", "hashed", (json_int_t)4096, "hash_b64",
                   base64_json(header, VERIFY_HASH_BYTES), "header_b64", base64_json(header, sizeof header)),
         out);
}

static void ask_write_codec(struct buf *out) { verify_ask_write(&ask, out); }

static struct buf asked;
static void ask_read_jansson(struct buf *out) {
    json_t *j = json_loadb(asked.data, asked.n, 0, NULL), *text = json_object_get(j, "header_b64");
    base64_decode(slice_make(json_string_value(text), json_string_length(text)), false, out);
    text = json_object_get(json_array_get(json_object_get(j, "body_hashes"), 0), "hash_b64");
    base64_decode(slice_make(json_string_value(text), json_string_length(text)), false, out);
    json_decref(j);
}

static void ask_read_codec(struct buf *out) {
    struct arena *arena = arena_create();
    struct verify_ask got;
    verify_ask_read(arena, buf_slice(&asked), &got);
    buf_add_char(out, 'x');
    arena_destroy(arena);
}

/* The verdict, read and put into mail.accepted */

static void accept_jansson(struct buf *out) {
    json_t *proofs = json_loadb(verdict, sizeof verdict - 1, 0, NULL);
    json_object_del(proofs, "headers");
    json_object_del(proofs, "drop");
    dump(json_pack("{s:b,s:s,s:[{s:s,s:s}],s:i,s:s,s:s,s:{s:s,s:i,s:s,s:s},s:s,s:o}", "queued", 0, "from",
                   "a@load.test", "rcpts", "address", "ann@alpha.test", "user", ID, "size", 4096, "message_id",
                   "<m@load.test>", "origin", "mx", "client", "ip", "192.0.2.1", "port", 4711, "helo", "mx.load.test",
                   "protocol", "smtp", "reply", "250 2.0.0 OK, delivered as " ID, "verdict", proofs),
         out);
}

static void accept_codec(struct buf *out) {
    struct arena *arena = arena_create();
    struct verify_reply r;
    verify_reply_read(arena, slice_make(verdict, sizeof verdict - 1), &r);
    struct mail_accepted e = {.shard = -1,
                              .from = S("a@load.test"),
                              .message_id = S("<m@load.test>"),
                              .origin = S("mx"),
                              .reply = S("250 2.0.0 OK, delivered as " ID),
                              .size = 4096,
                              .client = &client,
                              .verdict = r.proofs,
                              .rcpt_count = 1,
                              .rcpts = rcpts};
    mail_accepted_write(&e, out);
    arena_destroy(arena);
}

/* mailbox.deliver */

static void deliver_jansson(struct buf *out) {
    dump(json_pack("{s:[{s:s,s:s,s:s,s:I,s:I,s:s,s:b,s:o,s:[{s:s,s:s}]}]}", "messages", "id", ID, "from", "a@load.test",
                   "folder", "", "size", (json_int_t)4096, "date", (json_int_t)1795513277, "attempt", "smtpd", "held",
                   1, "listing_b64", base64_json(listing, sizeof listing), "rcpts", "rcpt", "ann@alpha.test", "user",
                   ID),
         out);
}

static void deliver_codec(struct buf *out) {
    static const struct deliver_ask_rcpt one = {S("ann@alpha.test"), S(ID)};
    struct deliver_ask_message m = {.id = S(ID),
                                    .from = S("a@load.test"),
                                    .attempt = S("smtpd"),
                                    .size = 4096,
                                    .date = 1795513277,
                                    .held = true,
                                    .listing = {listing, sizeof listing},
                                    .count = 1,
                                    .rcpts = &one};
    struct json_put j = deliver_ask_open(out);
    deliver_ask_add(&j, &m);
    deliver_ask_close(&j);
}

/* mail.delivered and mailbox.changed */

static void changed_jansson(struct buf *out) {
    dump(json_pack("{s:s,s:s,s:s,s:I,s:I}", "rcpt", "ann@alpha.test", "user", ID, "folder", "INBOX", "uid",
                   (json_int_t)7, "modseq", (json_int_t)9),
         out);
    dump(json_pack("{s:s,s:i,s:I,s:s}", "user", ID, "folder", 1, "modseq", (json_int_t)9, "kind", "delivered"), out);
}

static void changed_codec(struct buf *out) {
    struct mail_delivered delivered = {S("ann@alpha.test"), S(ID), S("INBOX"), 7, 9};
    struct mailbox_changed changed = {S(ID), S("delivered"), 1, 9};
    mail_delivered_write(&delivered, out);
    mailbox_changed_write(&changed, out);
}

static double measure(void (*run)(struct buf *out), long rounds) {
    struct buf out = {0};
    int64_t begin = clock_monotonic_us();
    for (long i = 0; i < rounds; i++) {
        run(&out);
        out.n = 0;
    }
    buf_free(&out);
    return (double)(clock_monotonic_us() - begin) / (double)rounds;
}

int main(int argc, char **argv) {
    static const struct {
        const char *what;
        void (*jansson)(struct buf *out), (*codec)(struct buf *out);
    } rows[] = {{"verifier.verify: ask written", ask_write_jansson, ask_write_codec},
                {"verifier.verify: ask read", ask_read_jansson, ask_read_codec},
                {"verdict read, mail.accepted written", accept_jansson, accept_codec},
                {"mailbox.deliver: ask written", deliver_jansson, deliver_codec},
                {"mail.delivered and mailbox.changed written", changed_jansson, changed_codec}};
    long rounds = argc > 1 ? atol(argv[1]) : 50000;
    for (size_t i = 0; i < sizeof header; i++) header[i] = (char)(' ' + i % 90);
    for (size_t i = 0; i < sizeof listing; i++) listing[i] = (char)i;
    ask.header = slice_make(header, sizeof header);
    ask.hashes[0] = (struct verify_hash){true, -1, 4096, slice_make(header, VERIFY_HASH_BYTES)};
    ask_write_codec(&asked);
    printf("%-45s %8s %8s\n", "microseconds each", "jansson", "codec");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        printf("%-45s %8.2f %8.2f\n", rows[i].what, measure(rows[i].jansson, rounds), measure(rows[i].codec, rounds));
    buf_free(&asked);
    return 0;
}
