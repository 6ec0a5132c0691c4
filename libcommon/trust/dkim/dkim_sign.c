/* Signing (RFC 6376 §5). */
#include <openssl/err.h>

#include "libcommon/base/base64.h"
#include "libcommon/trust/dkim/dkim_private.h"

enum { LINE_MAX_CHARACTERS = 78, SAME_NAME_MAX = 50 };

int dkim_sign_bytes(EVP_PKEY *key, struct slice data, struct buf *b64) {
    unsigned char signature[DKIM_RSA_BITS_MAX / 8], digest[32];
    size_t n = sizeof signature;
    unsigned digest_n = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md) memory_exhausted();
    bool ed25519 = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
    bool good = ed25519 ? EVP_Digest(data.p, data.n, digest, &digest_n, EVP_sha256(), NULL) == 1 &&
                              EVP_DigestSignInit(md, NULL, NULL, NULL, key) == 1 &&
                              EVP_DigestSign(md, signature, &n, digest, sizeof digest) == 1
                        : EVP_PKEY_get_size(key) <= (int)sizeof signature &&
                              EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
                              EVP_DigestSign(md, signature, &n, (const unsigned char *)data.p, data.n) == 1;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    if (good) base64_encode(slice_make(signature, n), b64);
    return good ? 0 : -1;
}

static void break_line(struct folded *f) {
    buf_add_str(f->out, "\r\n\t");
    f->column = 1;
}

void folded_add(struct folded *f, struct slice word, bool glue) {
    if (f->column + (glue ? 0 : 1) + word.n > LINE_MAX_CHARACTERS) {
        break_line(f);
    } else if (!glue) {
        buf_add_char(f->out, ' ');
        f->column++;
    }
    buf_add_slice(f->out, word);
    f->column += word.n;
}

void folded_add_base64(struct folded *f, struct slice b64) {
    while (b64.n) {
        size_t room = f->column < LINE_MAX_CHARACTERS ? LINE_MAX_CHARACTERS - f->column : 0,
               n = b64.n < room ? b64.n : room;
        buf_add(f->out, b64.p, n);
        f->column += n;
        b64 = slice_skip(b64, n);
        if (b64.n) break_line(f);
    }
}

void folded_add_list(struct folded *f, struct slice list) {
    struct slice name;
    while (slice_cut(&list, ':', &name)) folded_add(f, slice_make(name.p, name.n + 1), true);
    folded_add(f, list, true);
}

void dkim_names_to_sign(const struct header_index *x, bool arc, struct buf *out) {
    /* §5.4.1's fields, and MIME's. Fields that a mailing list or a resender may add later are
     * signed if present, but not over-signed. */
    static const struct {
        const char *name;
        bool over;
    } fields[] = {{"From", true},
                  {"To", true},
                  {"Cc", true},
                  {"Subject", true},
                  {"Date", true},
                  {"Message-ID", true},
                  {"Reply-To", true},
                  {"In-Reply-To", true},
                  {"References", true},
                  {"MIME-Version", true},
                  {"Content-Type", true},
                  {"Content-Transfer-Encoding", true},
                  {"Content-Disposition", true},
                  {"Sender", false},
                  {"List-Id", false},
                  {"List-Help", false},
                  {"List-Unsubscribe", false},
                  {"List-Unsubscribe-Post", false}, /* RFC 8058 §4 */
                  {"List-Subscribe", false},
                  {"List-Post", false},
                  {"List-Owner", false},
                  {"List-Archive", false},
                  {"Resent-From", false},
                  {"Resent-Sender", false},
                  {"Resent-To", false},
                  {"Resent-Cc", false},
                  {"Resent-Date", false},
                  {"Resent-Message-ID", false}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        size_t times = header_index_count(x, slice_of(fields[i].name));
        if (times > SAME_NAME_MAX) times = SAME_NAME_MAX;
        if ((fields[i].over && !arc) || (i == 0 && !times)) times++; /* From is always named (§5.4) */
        while (times--) buf_printf(out, "%s%s", out->n ? ":" : "", fields[i].name);
    }
    size_t signatures = arc ? header_index_count(x, SLICE("DKIM-Signature")) : 0;
    for (size_t i = 0; i < signatures && i < SAME_NAME_MAX; i++) buf_add_str(out, ":DKIM-Signature");
}

static void add_tag(struct folded *f, const char *name, struct slice value, const char *end) {
    struct buf tag = {0};
    buf_printf(&tag, "%s=", name);
    buf_add_slice(&tag, value);
    buf_add_str(&tag, end);
    folded_add(f, buf_slice(&tag), false);
    buf_free(&tag);
}

int dkim_sign(struct slice header, const unsigned char body_hash[BODY_HASH_BYTES], struct slice domain,
              struct slice selector, EVP_PKEY *key, int64_t now, struct buf *out) {
    struct buf field = {0}, names = {0}, data = {0}, b64 = {0};
    struct header_index *index = header_index_create(header);
    struct folded f = {.out = &field, .column = strlen("DKIM-Signature:")};
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%lld", (long long)now);
    dkim_names_to_sign(index, false, &names);
    buf_add_str(&field, "DKIM-Signature:");
    add_tag(&f, "v", SLICE("1"), ";");
    add_tag(&f, "a", EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? SLICE("ed25519-sha256") : SLICE("rsa-sha256"),
            ";");
    add_tag(&f, "c", SLICE("relaxed/relaxed"), ";");
    add_tag(&f, "d", domain, ";");
    add_tag(&f, "s", selector, ";");
    add_tag(&f, "t", slice_of(seconds), ";");
    folded_add(&f, SLICE("h="), false);
    folded_add_list(&f, buf_slice(&names));
    base64_encode(slice_make(body_hash, BODY_HASH_BYTES), &b64);
    folded_add(&f, SLICE(";"), true);
    add_tag(&f, "bh", buf_slice(&b64), ";");
    folded_add(&f, SLICE("b="), false);
    dkim_signed_header(index, buf_slice(&names), true, buf_slice(&field), &data, NULL);
    buf_reset(&b64);
    int failed = dkim_sign_bytes(key, buf_slice(&data), &b64);
    if (!failed) {
        folded_add_base64(&f, buf_slice(&b64));
        buf_add_slice(out, buf_slice(&field));
        buf_add_str(out, "\r\n");
    }
    header_index_destroy(index);
    buf_free(&field);
    buf_free(&names);
    buf_free(&data);
    buf_free(&b64);
    return failed;
}
