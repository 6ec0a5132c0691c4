/* A signature's tags (RFC 6376 §3.5), checked as §6.1.1 requires before anything is computed. */
#include "libcommon/base/base64.h"
#include "libcommon/mail/domain.h"
#include "libcommon/trust/dkim/dkim.h"
#include "libcommon/trust/tags.h"

const char *dkim_result_text(enum dkim_result r) {
    static const char *const words[] = {"none", "pass", "fail", "policy", "neutral", "temperror", "permerror"};
    return words[r];
}

/* A number of at most `digits` digits; a longer one counts as infinity (§3.5 t=, x=, l=). -1 when
 * it is missing; false when it is not a number. */
static bool take_number(struct slice text, size_t digits, int64_t *out) {
    uint64_t n;
    *out = -1;
    if (!text.p) return true;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < '0' || text.p[i] > '9') return false;
    if (!text.n) return false;
    while (text.n > 1 && text.p[0] == '0') text = slice_skip(text, 1);
    *out = text.n <= digits && slice_to_u64(text, INT64_MAX, &n) == 0 ? (int64_t)n : INT64_MAX;
    return true;
}

/* A name in the signature, in the normal form in which it is compared and looked up: A-labels in
 * lower case (RFC 8616 §4). Empty: not a domain name. */
static struct slice take_domain(struct arena *arena, struct slice text) {
    char name[DOMAIN_BYTES];
    if (!text.n || text.p[text.n - 1] == '.' || domain_normalise(text, name) != 0) return SLICE("");
    return arena_slice(arena, slice_of(name));
}

static bool is_subdomain(struct slice name, struct slice of) {
    if (slice_equal(name, of)) return true;
    return name.n > of.n && name.p[name.n - of.n - 1] == '.' && slice_equal(slice_skip(name, name.n - of.n), of);
}

static int hex(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

/* The domain of i=, which is DKIM-quoted-printable (§2.11: "=XX", white space is ignored) and may
 * have "@" in a quoted local part. Empty: not one. */
static struct slice identity_domain(struct arena *arena, struct slice i) {
    struct buf decoded = {0};
    struct slice domain = SLICE("");
    for (size_t k = 0; k < i.n; k++) {
        char c = i.p[k];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
        if (c == '=') {
            if (k + 2 >= i.n || hex(i.p[k + 1]) < 0 || hex(i.p[k + 2]) < 0) {
                buf_free(&decoded);
                return domain;
            }
            c = (char)(hex(i.p[k + 1]) << 4 | hex(i.p[k + 2]));
            k += 2;
        }
        buf_add_char(&decoded, c);
    }
    ptrdiff_t at = slice_find_last(buf_slice(&decoded), '@');
    if (at >= 0) domain = take_domain(arena, slice_skip(buf_slice(&decoded), (size_t)at + 1));
    buf_free(&decoded);
    return domain;
}

bool dkim_list_has(struct slice list, const char *word) {
    struct slice each;
    for (bool more = list.n > 0; more;) {
        more = slice_cut(&list, ':', &each);
        if (slice_is_nocase(slice_trim(more ? each : list), word)) return true;
    }
    return false;
}

int dkim_base64(struct slice text, struct buf *out) {
    if (base64_decode(text, true, out) == 0) return 0;
    /* §2.10's grammar has the padding optional */
    struct buf padded = {0};
    size_t digits = 0;
    for (size_t i = 0; i < text.n; i++) digits += !strchr(" \t\r\n", text.p[i]);
    buf_add_slice(&padded, text);
    buf_add(&padded, "==", digits % 4 == 2 ? 2 : digits % 4 == 3 ? 1 : 0);
    int result = digits % 4 < 2 ? -1 : base64_decode(buf_slice(&padded), true, out);
    buf_free(&padded);
    return result;
}

static bool is_base64(struct slice text) {
    struct buf bytes = {0};
    bool good = dkim_base64(text, &bytes) == 0 && bytes.n > 0;
    buf_free(&bytes);
    return good;
}

/* The values as written, before they are checked. */
struct raw_tags {
    struct slice v, c, d, l, q, s, t, x;
};

static const char *read_tags(struct slice value, struct raw_tags *raw, struct dkim_signature *out) {
    struct tag tag;
    struct slice rest = value;
    for (size_t i = 0; i < value.n; i++) /* §3.2: tags are made of printable characters and folds;
                                            beyond ASCII with RFC 8616 */
        if (((unsigned char)value.p[i] < ' ' && !strchr("\t\r\n", value.p[i])) || value.p[i] == 0x7f || !value.p[i])
            return "it holds a control character";
    if (!tags_are_valid(value)) return "the tag list is malformed (RFC 6376 section 3.2)";
    while (tag_next(&rest, &tag) == 1) {
        if (tag.name.n == 1) switch (tag.name.p[0]) {
            case 'v': raw->v = tag.value; break;
            case 'a': out->a = tag.value; break;
            case 'b': out->b = tag.value; break;
            case 'c': raw->c = tag.value; break;
            case 'd': raw->d = tag.value; break;
            case 'h': out->h = tag.value; break;
            case 'i': out->i = tag.value; break;
            case 'l': raw->l = tag.value; break;
            case 'q': raw->q = tag.value; break;
            case 's': raw->s = tag.value; break;
            case 't': raw->t = tag.value; break;
            case 'x': raw->x = tag.value; break;
            }
        else if (slice_is(tag.name, "bh"))
            out->bh = tag.value;
        else if (slice_is(tag.name, "cv"))
            out->cv = tag.value;
    }
    return NULL;
}

static const char *read_canonicalization(struct slice c, struct dkim_signature *out) {
    struct slice body = c, head;
    out->no_canonicalization = !c.p;
    if (!c.p) return NULL;                                               /* §3.5 c=: simple/simple */
    if (!slice_cut(&body, '/', &head)) head = c, body = SLICE("simple"); /* the body's default */
    head = slice_trim(head);
    body = slice_trim(body);
    out->relaxed_header = slice_is_nocase(head, "relaxed");
    out->body.relaxed = slice_is_nocase(body, "relaxed");
    return (out->relaxed_header || slice_is_nocase(head, "simple")) &&
                   (out->body.relaxed || slice_is_nocase(body, "simple"))
               ? NULL
               : "the canonicalization is not known";
}

/* Checks the tags that only a DKIM-Signature has. */
static const char *check_dkim(struct arena *arena, const struct raw_tags *raw, struct dkim_signature *out) {
    if (!slice_is(raw->v, "1")) return "v= is not 1";                          /* §6.1.1 */
    if (!dkim_list_has(out->h, "from")) return "the From field is not signed"; /* §5.4, §6.1.1 */
    out->identity = out->d;
    if (!out->i.p) return NULL;
    out->identity = identity_domain(arena, out->i);
    if (!out->identity.n) return "i= is no identity";
    return is_subdomain(out->identity, out->d) ? NULL : "i= is not of the domain d="; /* §6.1.1 */
}

/* Checks the tags that only ARC signatures have (RFC 8617 §4.1.2, §4.1.3; v= has no meaning
 * there). */
static const char *check_arc(enum dkim_flavour flavour, struct dkim_signature *out) {
    if (slice_to_u64(out->i, 50, &out->instance) != 0 || out->instance < 1)
        return "the instance i= is not a number from 1 to 50"; /* §4.2.1 */
    if (flavour == DKIM_ARC_SEAL)
        return slice_is_nocase(out->cv, "none") || slice_is_nocase(out->cv, "pass") || slice_is_nocase(out->cv, "fail")
                   ? NULL
                   : "cv= is missing or none of none, pass and fail";
    /* an empty h= is accepted, against RFC 6376 §3.5, because the public ARC test suite requires it
     * ("ams h= empty"): such a signature covers only the body, and trust_chain.c does not trust it
     * for the author */
    if (!(out->h.p && !out->h.n) && !dkim_list_has(out->h, "from")) return "the From field is not signed";
    return dkim_list_has(out->h, "arc-seal") ? "h= names ARC-Seal" : NULL;
}

const char *dkim_signature_parse(struct arena *arena, struct slice value, enum dkim_flavour flavour,
                                 struct dkim_signature *out) {
    struct raw_tags raw = {0};
    *out = (struct dkim_signature){.body.length = -1};
    const char *wrong = read_tags(value, &raw, out);
    if (wrong) return wrong;
    out->d = take_domain(arena, raw.d);
    out->s = take_domain(arena, raw.s);
    if (flavour != DKIM_SIGNATURE && (wrong = check_arc(flavour, out))) return wrong;
    if (flavour == DKIM_ARC_SEAL && out->h.p) return "an ARC-Seal has no h= (RFC 8617 section 4.1.3)";
    if (!raw.d.n || !raw.s.n || !out->a.n || !out->b.n) return "a=, b=, d= or s= is missing or empty";
    if (!out->d.n) return "d= is not a domain name";
    if (!out->s.n) return "s= is not a selector";
    if (flavour != DKIM_ARC_SEAL && !out->bh.n) return "bh= is missing or empty";
    if (flavour == DKIM_SIGNATURE && !out->h.n) return "h= is missing or empty";
    if (slice_is_nocase(out->a, "rsa-sha1")) return "rsa-sha1 is no longer a signature (RFC 8301 section 3.1)";
    out->ed25519 = slice_is_nocase(out->a, "ed25519-sha256");
    if (!out->ed25519 && !slice_is_nocase(out->a, "rsa-sha256")) return "the algorithm is not known";
    if (raw.q.p && !dkim_list_has(raw.q, "dns/txt")) return "q= names no way to the key that is known"; /* §3.5 q= */
    if (!is_base64(out->b)) return "b= is not base 64";
    if (flavour != DKIM_ARC_SEAL && !is_base64(out->bh)) return "bh= is not base 64";
    out->relaxed_header = flavour == DKIM_ARC_SEAL; /* RFC 8617 §5.1.1 */
    if (flavour != DKIM_ARC_SEAL && (wrong = read_canonicalization(raw.c, out))) return wrong;
    if (!take_number(raw.l, 18, &out->body.length)) return "l= is no number";
    if (!take_number(raw.t, 12, &out->signed_at)) return "t= is no number";
    if (!take_number(raw.x, 12, &out->expires)) return "x= is no number";
    if (raw.x.p && out->signed_at >= out->expires && out->signed_at != INT64_MAX)
        return "x= is not after t="; /* §3.5 x= */
    return flavour == DKIM_SIGNATURE ? check_dkim(arena, &raw, out) : NULL;
}

enum dkim_result dkim_signature_in_time(const struct dkim_signature *s, int64_t now, const char **reason) {
    if (s->expires >= 0 && s->expires < now) { /* §6.1.1 */
        *reason = "the signature has expired";
        return DKIM_FAIL;
    }
    if (s->signed_at > now + DKIM_FUTURE_SECONDS) { /* §3.5 t=: these may be ignored */
        *reason = "the signature is dated in the future";
        return DKIM_POLICY;
    }
    return DKIM_PASS;
}

enum dkim_result dkim_body_fits(const struct dkim_signature *s, size_t count, const struct body_digest digests[],
                                const struct body_digest **digest, const char **reason) {
    struct buf bh = {0};
    *digest = NULL;
    for (size_t i = 0; i < count && !*digest; i++)
        if (digests[i].kind.relaxed == s->body.relaxed && digests[i].kind.length == s->body.length)
            *digest = &digests[i];
    if (!*digest) {
        *reason = "the signatures ask for more different body hashes than are computed";
        return DKIM_POLICY;
    }
    bool fits = dkim_base64(s->bh, &bh) == 0 && bh.n == BODY_HASH_BYTES &&
                memcmp(bh.data, (*digest)->digest, BODY_HASH_BYTES) == 0;
    buf_free(&bh);
    if (s->body.length >= 0 && (*digest)->hashed < (uint64_t)s->body.length) { /* §3.5 l= */
        *reason = "l= is larger than the body";
        return DKIM_FAIL;
    }
    *reason = fits ? "" : "the body hash does not fit: the body was changed";
    return fits ? DKIM_PASS : DKIM_FAIL;
}
