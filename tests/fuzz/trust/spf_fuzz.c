/* An SPF record that is whatever it is, for each of whose names DNS says the same again. */
#include "libcommon/trust/spf.h"

static struct trust_record txt, address, host;

static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    static struct trust_answer answer;
    (void)ctx, (void)name;
    answer = (struct trust_answer){TRUST_DNS_OK, false, 1, type == TRUST_TXT ? &txt : type == TRUST_A || type == TRUST_AAAA ? &address : &host};
    return &answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena *arena = arena_create();
    struct trust_dns dns = {look_up, NULL};
    struct spf_verdict v;
    struct slice out;
    struct spf_query q = {
        .ip = size % 2 ? SLICE("192.0.2.1") : SLICE("2001:db8::1"), .helo = SLICE("h.test"), .sender = SLICE("\"a b\"@c.test"), .receiver = SLICE("me.test")};
    txt.data = slice_make(data, size);
    address.data = SLICE("\001\002\003\004");
    host.data = SLICE("x.test");
    spf_check(arena, &q, &dns, &v);
    spf_expand(arena, txt.data, &q, q.sender, SLICE("d.test"), SLICE(""), true, &out);
    arena_destroy(arena);
    return 0;
}
