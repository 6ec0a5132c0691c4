/* Canonical forms and body hashes against plain reference implementations, in pieces of any size;
 * and what we sign verifies, whatever the header. The first byte of the input is the size of the
 * pieces. */
#include <stdlib.h>

#include "libcommon/mail/header.h"
#include "libcommon/trust/dkim/dkim.h"
#include "libcommon/trust/dkim/dkim_header.h"

/* RFC 6376 §3.4.3, §3.4.4 as one would write them with the whole body in hand. */
static void reference_body(struct slice body, bool relaxed, struct buf *out) {
    while (body.n) {
        const char *end = memmem(body.p, body.n, "\r\n", 2);
        struct slice line = slice_head(body, end ? (size_t)(end - body.p) : body.n);
        body = slice_skip(body, line.n + (end ? 2 : 0));
        for (size_t i = 0; i < line.n; i++) {
            bool blank = line.p[i] == ' ' || line.p[i] == '\t';
            if (!relaxed || !blank) {
                buf_add_char(out, line.p[i]);
                continue;
            }
            while (i + 1 < line.n && (line.p[i + 1] == ' ' || line.p[i + 1] == '\t')) i++;
            if (i + 1 < line.n) buf_add_char(out, ' ');
        }
        buf_add_str(out, "\r\n");
    }
    while (out->n >= 4 && memcmp(out->data + out->n - 4, "\r\n\r\n", 4) == 0) out->n -= 2;
    if (out->n == 2 && memcmp(out->data, "\r\n", 2) == 0) out->n = 0;
    if (!out->n && !relaxed) buf_add_str(out, "\r\n");
}

static void check_body(struct slice body, bool relaxed, int64_t length, size_t piece) {
    struct buf canonical = {0};
    unsigned char wanted[32], got[BODY_HASH_BYTES];
    unsigned n = 0;
    uint64_t hashed;
    reference_body(body, relaxed, &canonical);
    size_t part = length >= 0 && (uint64_t)length < canonical.n ? (size_t)length : canonical.n;
    EVP_Digest(part ? canonical.data : "", part, wanted, &n, EVP_sha256(), NULL);
    struct body_hash *h = body_hash_create((struct body_hash_kind){relaxed, length});
    for (struct slice rest = body; rest.n; rest = slice_skip(rest, piece)) body_hash_update(h, slice_head(rest, piece));
    body_hash_finish(h, got, &hashed);
    if (memcmp(got, wanted, sizeof wanted) != 0 || hashed != part) abort();
    buf_free(&canonical);
}

static void check_fields(struct slice header) {
    struct header_field f;
    size_t at = 0;
    while (header_next(header, &at, &f) == 1) {
        struct buf once = {0}, twice = {0};
        dkim_canonical_field(f.raw, true, &once);
        dkim_canonical_field(buf_slice(&once), true, &twice);
        if (!slice_equal(buf_slice(&once), buf_slice(&twice))) abort(); /* relaxed is a fixed point */
        buf_reset(&once);
        dkim_canonical_field(f.raw, false, &once);
        if (!slice_starts(buf_slice(&once), f.raw)) abort(); /* simple is the field itself */
        buf_free(&once);
        buf_free(&twice);
    }
}

static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    (void)name, (void)type;
    return ctx;
}

static void check_signing(struct slice header, struct slice body) {
    static EVP_PKEY *key;
    static struct trust_record record = {
        .data = SLICE("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")}; /* RFC 8463 §A.2 */
    static struct trust_answer answer = {.status = TRUST_DNS_OK, .count = 1, .records = &record};
    struct trust_dns dns = {look_up, &answer};
    struct arena *arena = arena_create();
    struct body_digest digest = {.kind = {true, -1}};
    struct buf message = {0}, seed = {0};
    struct dkim_verdict *v;
    size_t n;
    if (!key) { /* RFC 8463 §A.1 */
        dkim_base64(SLICE("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="), &seed);
        key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)seed.data, seed.n);
        buf_free(&seed);
    }
    struct body_hash *h = body_hash_create(digest.kind);
    body_hash_update(h, body);
    body_hash_finish(h, digest.digest, &digest.hashed);
    if (dkim_sign(header, digest.digest, SLICE("a.test"), SLICE("s"), key, 1795513277, &message) != 0) abort();
    buf_add_slice(&message, header);
    struct dkim_message m = {
        .header = buf_slice(&message), .digest_count = 1, .digests = &digest, .now = 1795513277, .explain = true};
    if (dkim_verify(arena, &m, &dns, NULL, &n, &v) != TRUST_DONE || n < 1) abort();
    /* of too many signatures ours may not be among the verified; what is first in the message and
     * verified is ours */
    struct header_field f;
    size_t at = 0;
    bool ours =
        header_next(m.header, &at, &f) == 1 && v[0].signature.h.p > f.raw.p && v[0].signature.h.p < f.raw.p + f.raw.n;
    if (ours && v[0].result != DKIM_PASS) abort();
    buf_free(&message);
    arena_destroy(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > 20000) return 0;
    size_t piece = data[0] % 61u + 1, body_at;
    struct slice message = slice_make(data + 1, size - 1), header = header_block(message, &body_at),
                 body = slice_skip(message, body_at);
    for (int relaxed = 0; relaxed < 2; relaxed++) {
        check_body(body, relaxed, -1, piece);
        check_body(body, relaxed, data[0], piece);
    }
    check_fields(header);
    if (header.n && header.p[0] != ' ' && header.p[0] != '\t') check_signing(header, body);
    return 0;
}
