#include "libcommon/trust/srs/srs.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "libcommon/base/arena.h"

enum { DAY_CHARS = 2, DAYS_MODULO = 1024, DAY_SECONDS = 86400 };
static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"; /* RFC 4648 §6 */

int srs_keys_read(struct slice text, struct srs_keys *out) {
    struct slice line;
    *out = (struct srs_keys){0};
    for (bool more = true; more;) {
        more = slice_cut(&text, '\n', &line);
        line = slice_trim(more ? line : text);
        if (!line.n) continue;
        if (line.n < SRS_KEY_BYTES_MIN || out->count == SRS_KEYS_MAX) return -1;
        out->keys[out->count++] = line;
    }
    return out->count ? 0 : -1;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }
static char upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c & ~0x20) : c; }

/* The hash of what follows it, "<kind><rest>@<domain>", in upper case. */
static void hash_of(struct slice key, const char *kind, struct slice rest, struct slice domain,
                    char out[SRS_HASH_CHARS]) {
    struct buf text = {0};
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    buf_add_str(&text, kind);
    buf_add_slice(&text, rest);
    buf_add_char(&text, '@');
    buf_add_slice(&text, domain);
    for (size_t i = 0; i < text.n; i++) text.data[i] = lower(text.data[i]);
    if (!HMAC(EVP_sha256(), key.p, (int)key.n, (const unsigned char *)text.data, text.n, digest, &n))
        memory_exhausted();
    buf_free(&text);
    for (size_t i = 0; i < SRS_HASH_CHARS; i++) { /* five bits each, from the left */
        size_t bit = i * 5;
        unsigned two = (unsigned)digest[bit / 8] << 8 | digest[bit / 8 + 1];
        out[i] = base32[two >> (11 - bit % 8) & 31];
    }
}

/* Whether `hash` was made with one of our keys. */
static bool hash_fits(const struct srs_keys *keys, struct slice hash, const char *kind, struct slice rest,
                      struct slice domain) {
    char given[SRS_HASH_CHARS], own[SRS_HASH_CHARS];
    bool fits = false;
    if (hash.n != SRS_HASH_CHARS) return false;
    for (size_t i = 0; i < SRS_HASH_CHARS; i++) given[i] = upper(hash.p[i]);
    for (size_t i = 0; i < keys->count; i++) {
        hash_of(keys->keys[i], kind, rest, domain, own);
        fits |= CRYPTO_memcmp(given, own, SRS_HASH_CHARS) == 0;
    }
    return fits;
}

/* Local parts (RFC 5321 §4.1.2) */

static void add_unquoted(struct buf *out, struct slice local) {
    if (local.n < 2 || local.p[0] != '"' || local.p[local.n - 1] != '"') {
        buf_add_slice(out, local);
        return;
    }
    for (size_t i = 1; i + 1 < local.n; i++) {
        if (local.p[i] == '\\' && i + 2 < local.n) i++;
        buf_add_char(out, local.p[i]);
    }
}

static bool is_dot_string(struct slice local) {
    bool atom = false;
    for (size_t i = 0; i < local.n; i++) {
        char c = local.p[i];
        if (c == '.' && !atom) return false;
        atom = c != '.';
        if (atom && (unsigned char)c < 0x80 && !(c >= '0' && c <= '9') && !(lower(c) >= 'a' && lower(c) <= 'z') &&
            !(c && strchr("!#$%&'*+-/=?^_`{|}~", c)))
            return false;
    }
    return atom;
}

/* local@domain, with quotes where they are needed. SRS_TOO_LONG: out is as before. bound: of the
 * local part. */
static enum srs_result add_address(struct buf *out, struct slice local, struct slice domain, size_t bound) {
    size_t before = out->n;
    if (is_dot_string(local)) {
        buf_add_slice(out, local);
    } else {
        buf_add_char(out, '"');
        for (size_t i = 0; i < local.n; i++) {
            if (local.p[i] == '"' || local.p[i] == '\\') buf_add_char(out, '\\');
            buf_add_char(out, local.p[i]);
        }
        buf_add_char(out, '"');
    }
    bool fits = out->n - before <= bound && out->n - before + 1 + domain.n <= SRS_ADDRESS_MAX;
    if (fits) {
        buf_add_char(out, '@');
        buf_add_slice(out, domain);
        return SRS_OK;
    }
    out->n = before;
    if (out->data) out->data[before] = 0;
    return SRS_TOO_LONG;
}

static bool cut_address(struct slice address, struct buf *local, struct slice *domain) {
    ptrdiff_t at = slice_find_last(address, '@');
    if (at <= 0 || (size_t)at + 1 >= address.n) return false;
    add_unquoted(local, slice_head(address, (size_t)at));
    *domain = slice_skip(address, (size_t)at + 1);
    return local->n > 0;
}

static bool is_separator(char c) { return c == '=' || c == '+' || c == '-'; }

/* "SRS0=…": *rest is the text after the four letters, which begins with a separator: "=", or "+" or
 * "-" in other implementations. */
static bool is_srs(struct slice local, const char *kind, struct slice *rest) {
    if (local.n < 6 || !slice_starts_nocase(local, slice_of(kind)) || !is_separator(local.p[4])) return false;
    *rest = slice_skip(local, 4);
    return true;
}

/* "=<hash>=<first>=<rest>" of an SRS1 address: rest begins with a separator. */
static bool cut_srs1(struct slice text, struct slice *hash, struct slice *first, struct slice *rest) {
    *rest = slice_skip(text, 1);
    return slice_cut(rest, '=', hash) && slice_cut(rest, '=', first) && first->n && rest->n > 1 &&
           is_separator(rest->p[0]);
}

/* There and back */

enum srs_result srs_forward(const struct srs_keys *keys, struct slice sender, struct slice domain, int64_t now,
                            struct buf *out) {
    struct buf local = {0}, body = {0}, whole = {0};
    struct slice from, text, hash, first, rest;
    char own[SRS_HASH_CHARS];
    const char *kind = "SRS1=";
    if (!keys->count || !cut_address(sender, &local, &from) ||
        slice_find(from, '=') >= 0) { /* a domain has no "=", and the address could not be
                                         reversed */
        buf_free(&local);
        return SRS_NONE;
    }
    if (is_srs(buf_slice(&local), "SRS0", &text)) {
        first = from, rest = text;
    } else if (!is_srs(buf_slice(&local), "SRS1", &text) || !cut_srs1(text, &hash, &first, &rest)) {
        unsigned day = (unsigned)(now / DAY_SECONDS % DAYS_MODULO);
        kind = "SRS0=";
        buf_add_char(&body, base32[day >> 5]);
        buf_add_char(&body, base32[day & 31]);
        buf_add_char(&body, '=');
        first = from, rest = buf_slice(&local);
    }
    buf_add_slice(&body, first);
    buf_add_char(&body, '=');
    buf_add_slice(&body, rest);
    hash_of(keys->keys[0], kind, buf_slice(&body), domain, own);
    buf_add_str(&whole, kind);
    buf_add(&whole, own, sizeof own);
    buf_add_char(&whole, '=');
    buf_add_slice(&whole, buf_slice(&body));
    enum srs_result result = add_address(out, buf_slice(&whole), domain, SRS_LOCAL_MAX);
    buf_free(&local);
    buf_free(&body);
    buf_free(&whole);
    return result;
}

/* The two characters of a day; -1: they are none. */
static int day_of(struct slice text) {
    int day = 0;
    if (text.n != DAY_CHARS) return -1;
    for (size_t i = 0; i < DAY_CHARS; i++) {
        const char *digit = text.p[i] ? strchr(base32, upper(text.p[i])) : NULL;
        if (!digit) return -1;
        day = day * 32 + (int)(digit - base32);
    }
    return day;
}

static enum srs_result reverse(const struct srs_keys *keys, struct slice local, struct slice domain, int64_t now,
                               struct buf *out) {
    struct slice text, hash, first, rest, day;
    if (is_srs(local, "SRS1", &text)) {
        if (!cut_srs1(text, &hash, &first, &rest)) return SRS_FORGED;
        if (!hash_fits(keys, hash, "SRS1=", slice_make(first.p, (size_t)(rest.p + rest.n - first.p)), domain))
            return SRS_FORGED;
        struct buf back = {0};
        buf_add_str(&back, "SRS0");
        buf_add_slice(&back, rest);
        enum srs_result result = add_address(out, buf_slice(&back), first, SRS_ADDRESS_MAX);
        buf_free(&back);
        return result;
    }
    if (!is_srs(local, "SRS0", &text)) return SRS_NONE;
    text = slice_skip(text, 1);
    if (!slice_cut(&text, '=', &hash) || !hash_fits(keys, hash, "SRS0=", text, domain)) return SRS_FORGED;
    if (!slice_cut(&text, '=', &day) || !slice_cut(&text, '=', &first) || !first.n || !text.n) return SRS_FORGED;
    int then = day_of(day), age;
    if (then < 0) return SRS_FORGED;
    age = ((int)(now / DAY_SECONDS % DAYS_MODULO) - then + DAYS_MODULO) % DAYS_MODULO;
    if (age > SRS_DAYS && age != DAYS_MODULO - 1)
        return SRS_EXPIRED; /* the clock of another replica may already be past midnight */
    return add_address(out, text, first, SRS_ADDRESS_MAX);
}

enum srs_result srs_reverse(const struct srs_keys *keys, struct slice address, int64_t now, struct buf *out) {
    struct buf local = {0};
    struct slice domain;
    enum srs_result result =
        cut_address(address, &local, &domain) ? reverse(keys, buf_slice(&local), domain, now, out) : SRS_NONE;
    buf_free(&local);
    return result;
}
