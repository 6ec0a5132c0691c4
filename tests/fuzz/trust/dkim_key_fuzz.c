/* A key record: whatever is taken as a key is within its bounds, and verifying with it ends. */
#include <stdlib.h>

#include "libcommon/trust/dkim/dkim.h"

static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    (void)name, (void)type;
    return ctx;
}

static void check(struct arena *arena, const struct trust_dns *dns, const char *tags) {
    struct dkim_signature s;
    struct dkim_key key;
    enum dkim_result result;
    const char *reason = NULL;
    if (dkim_signature_parse(arena, slice_of(tags), DKIM_SIGNATURE, &s)) abort();
    if (dkim_key_fetch(dns, NULL, &s, 0, &key, &result, &reason) != TRUST_DONE) abort();
    if ((result == DKIM_PASS) != (key.key != NULL)) abort();
    if (result != DKIM_PASS && !reason) abort();
    if (key.key && !s.ed25519 && (key.bits < DKIM_RSA_BITS_MIN || key.bits > DKIM_RSA_BITS_MAX)) abort();
    if (key.key) dkim_any_key_fits(&s, dns, NULL, &key, SLICE("data"));
    dkim_key_release(&key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* two records, parted by an LF */
    struct slice second = slice_make(data, size), first = second;
    struct trust_record records[2];
    size_t count = 1;
    if (slice_cut(&second, '\n', &first)) count = 2;
    records[0].data = first;
    records[1].data = second;
    struct trust_answer answer = {.status = TRUST_DNS_OK, .count = count, .records = records};
    struct trust_dns dns = {look_up, &answer};
    struct arena *arena = arena_create();
    check(arena, &dns, "v=1; a=rsa-sha256; d=a.test; s=s; h=from; bh=AAAA; b=AAAA");
    check(arena, &dns, "v=1; a=ed25519-sha256; d=a.test; s=s; i=@b.a.test; h=from; bh=AAAA; b=AAAA");
    arena_destroy(arena);
    return 0;
}
