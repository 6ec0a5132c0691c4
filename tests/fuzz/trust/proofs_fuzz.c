/* The whole verification of a foreign header block, with DNS answers that are foreign too: the
 * first line of the input is the TXT record that every name has. */
#include <stdlib.h>

#include "libcommon/trust/verdict/trust.h"

struct world {
    struct slice txt;
    struct trust_answer answer, addresses;
    struct trust_record record, address;
};

static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    struct world *w = ctx;
    (void)name;
    return type == TRUST_TXT ? &w->answer : &w->addresses;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice all = slice_make(data, size), txt;
    if (size > 20000 || !slice_cut(&all, '\n', &txt)) return 0;
    struct world w = {.txt = txt};
    w.record.data = txt;
    w.answer = (struct trust_answer){.status = TRUST_DNS_OK, .count = 1, .records = &w.record};
    w.address.data = SLICE("\300\000\002\001");
    w.addresses = (struct trust_answer){.status = TRUST_DNS_OK, .count = 1, .records = &w.address};
    struct trust_dns dns = {look_up, &w};
    struct arena *arena = arena_create();
    struct body_hash_kind kinds[BODY_HASHES_MAX];
    struct body_digest digests[BODY_HASHES_MAX];
    struct trust_result r;
    struct buf out = {0};
    size_t n = body_hash_wanted(all, kinds);
    for (size_t i = 0; i < n; i++) {
        struct body_hash *h = body_hash_create(kinds[i]);
        body_hash_update(h, all);
        digests[i].kind = kinds[i];
        body_hash_finish(h, digests[i].digest, &digests[i].hashed);
    }
    struct trust_input in = {.client_ip = SLICE("2001:db8::1"),
                             .helo = SLICE("h.test"),
                             .mail_from = SLICE("a@b.test"),
                             .header = all,
                             .digest_count = n,
                             .digests = digests,
                             .authserv_id = SLICE("me.test"),
                             .now = 1795513277,
                             .explain = true};
    if (trust_verify(arena, &in, &dns, NULL, &r) != TRUST_DONE)
        abort(); /* everything is known: nothing may be pending */
    trust_write_headers(&in, &r, &out);
    struct buf text = {0};
    struct json_put j = json_put_begin(&text);
    yyjson_val *object;
    json_put_object(&j, NULL);
    trust_result_put(&r, true, &j);
    json_put_end(&j, '}');
    yyjson_doc *doc = json_take(buf_slice(&text), &object);
    if (!doc) abort();
    yyjson_doc_free(doc);
    buf_free(&text);
    buf_free(&out);
    arena_destroy(arena);
    return 0;
}
