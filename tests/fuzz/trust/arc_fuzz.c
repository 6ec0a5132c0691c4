/* ARC sets of a foreign header: validated, sealed by us, validated again. */
#include <stdlib.h>

#include "libcommon/mail/header.h"
#include "libcommon/trust/arc/arc.h"

static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    (void)name, (void)type;
    return ctx;
}

static struct arc_verdict validate(struct arena *arena, struct slice header) {
    static struct trust_record record = {
        .data = SLICE("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")}; /* RFC 8463 §A.2 */
    static struct trust_answer answer = {.status = TRUST_DNS_OK, .count = 1, .records = &record};
    struct trust_dns dns = {look_up, &answer};
    struct body_digest digest = {.kind = {true, -1}};
    struct dkim_message m = {
        .header = header, .digest_count = 1, .digests = &digest, .now = 1795513277, .explain = true};
    struct arc_verdict v;
    if (arc_verify(arena, &m, &dns, NULL, &v) != TRUST_DONE) abort();
    return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static EVP_PKEY *key;
    static const unsigned char digest[BODY_HASH_BYTES];
    struct slice header = slice_make(data, size);
    struct buf seed = {0}, message = {0};
    if (size > 50000 || (size && (data[0] == ' ' || data[0] == '\t'))) return 0;
    if (!key) { /* RFC 8463 §A.1 */
        dkim_base64(SLICE("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="), &seed);
        key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)seed.data, seed.n);
        buf_free(&seed);
    }
    struct arena *arena = arena_create();
    struct arc_verdict v = validate(arena, header);
    if (v.sets > ARC_SETS_MAX || !v.reason || (v.result == ARC_PASS) != (v.sets > 0 && v.result != ARC_FAIL)) abort();
    if (arc_seal(header, digest, &v, SLICE("mx.a.test"), SLICE(" none"), SLICE("a.test"), SLICE("s"), key, 1795513277,
                 &message) == 0) {
        buf_add_slice(&message, header);
        struct arc_verdict after = validate(arena, buf_slice(&message));
        if (after.sets != v.sets + 1 || after.result != (v.result == ARC_FAIL ? ARC_FAIL : ARC_PASS) ||
            after.ended != (v.result == ARC_FAIL))
            abort();
        struct buf again = {0};
        if (after.ended && arc_seal(buf_slice(&message), digest, &after, SLICE("mx.a.test"), SLICE(" none"),
                                    SLICE("a.test"), SLICE("s"), key, 1, &again) == 0)
            abort();
        buf_free(&again);
    } else if (!v.ended && v.sets < ARC_SETS_MAX) {
        abort();
    }
    buf_free(&message);
    arena_destroy(arena);
    return 0;
}
