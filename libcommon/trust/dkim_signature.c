/* A signature's tags and canonical forms. */
#include "libcommon/base/base64.h"
#include "libcommon/mail/header.h"
#include "libcommon/trust/dkim.h"
#include "libcommon/trust/tags.h"

const char *dkim_result_text(enum dkim_result r) {
    static const char *const words[] = {"none", "pass", "fail", "policy", "neutral", "temperror", "permerror"};
    return words[r];
}

/* A number of seconds, or -1 for none; false when it is there and no number. */
static bool take_time(struct slice text, int64_t *out) {
    uint64_t n;
    *out = -1;
    if (!text.p) return true;
    if (slice_to_u64(text, INT64_MAX, &n) != 0) return false;
    *out = (int64_t)n;
    return true;
}

static bool is_domain(struct slice d) {
    if (!d.n || d.n > 253) return false;
    for (size_t i = 0; i < d.n; i++) {
        unsigned char c = (unsigned char)d.p[i];
        if (c <= ' ' || c == 0x7f || strchr("<>()@,;:\\\"[]", c)) return false;
    }
    return d.p[0] != '.' && d.p[d.n - 1] != '.';
}

/* Whether list (names parted by colons) has this name. */
static bool names(struct slice list, const char *name) {
    struct slice each;
    for (bool more = list.n > 0; more;) {
        more = slice_cut(&list, ':', &each);
        if (slice_is_nocase(slice_trim(more ? each : list), name)) return true;
    }
    return false;
}

static bool is_subdomain(struct slice name, struct slice of) {
    if (slice_equal_nocase(name, of)) return true;
    return name.n > of.n && name.p[name.n - of.n - 1] == '.' && slice_equal_nocase(slice_skip(name, name.n - of.n), of);
}

const char *dkim_signature_parse(struct slice value, enum dkim_flavour flavour, struct dkim_signature *out) {
    struct tag tag;
    struct slice rest = value, v = {0}, c = {0}, l = {0}, q = {0};
    if (!tags_are_valid(value)) return "the tag list is malformed";
    *out = (struct dkim_signature){.body.length = -1};
    while (tag_next(&rest, &tag) == 1) {
        if (tag.name.n == 1) switch (tag.name.p[0]) {
            case 'v': v = tag.value; break;
            case 'a': out->a = tag.value; break;
            case 'b': out->b = tag.value; break;
            case 'c': c = tag.value; break;
            case 'd': out->d = tag.value; break;
            case 'h': out->h = tag.value; break;
            case 'i': out->i = tag.value; break;
            case 'l': l = tag.value; break;
            case 'q': q = tag.value; break;
            case 's': out->s = tag.value; break;
            case 't': out->t = tag.value; break;
            case 'x': out->x = tag.value; break;
            }
        else if (slice_is(tag.name, "bh"))
            out->bh = tag.value;
        else if (slice_is(tag.name, "cv"))
            out->cv = tag.value;
    }
    if (flavour == DKIM_SIGNATURE && !slice_is(v, "1")) return "v= is not 1"; /* §6.1.1 */
    if (flavour == DKIM_ARC_SEAL && out->h.p) return "an ARC-Seal has no h= (RFC 8617 section 4.1.3)";
    if (!out->a.n || !out->b.n || !is_domain(out->d) || !is_domain(out->s)) return "a tag that is needed is missing or empty";
    if (flavour != DKIM_ARC_SEAL && (!out->bh.n || !out->h.n)) return "bh= or h= is missing";
    if (slice_is_nocase(out->a, "rsa-sha1")) return "rsa-sha1 is no longer a signature (RFC 8301 section 3.1)";
    out->ed25519 = slice_is_nocase(out->a, "ed25519-sha256");
    if (!out->ed25519 && !slice_is_nocase(out->a, "rsa-sha256")) return "the algorithm is not known";
    if (q.p && !names(q, "dns/txt")) return "the key is not in DNS";
    struct slice body = c, head;
    if (!slice_cut(&body, '/', &head)) head = c, body = SLICE("simple"); /* §3.5 c= */
    head = slice_trim(head);
    body = slice_trim(body);
    if (!c.p) head = SLICE("simple");
    if (flavour == DKIM_ARC_SEAL) head = SLICE("relaxed"); /* RFC 8617 §5.1.1 */
    out->relaxed_header = slice_is_nocase(head, "relaxed");
    out->body.relaxed = slice_is_nocase(body, "relaxed");
    if ((!out->relaxed_header && !slice_is_nocase(head, "simple")) || (!out->body.relaxed && !slice_is_nocase(body, "simple")))
        return "the canonicalisation is not known";
    if (l.p && !take_time(l, &out->body.length)) return "l= is no number";
    if (!take_time(out->t, &out->signed_at) || !take_time(out->x, &out->expires)) return "t= or x= is no number";
    if (out->expires >= 0 && out->signed_at > out->expires) return "x= is before t="; /* §3.5 x= */
    if (flavour == DKIM_SIGNATURE) {
        if (!names(out->h, "from")) return "From is not signed"; /* §5.4 */
        if (out->i.p) {
            ptrdiff_t at = slice_find_last(out->i, '@');
            if (at < 0 || !is_subdomain(slice_skip(out->i, (size_t)at + 1), out->d)) return "i= is not of the domain d="; /* §6.1.1 */
        }
    } else if (slice_to_u64(out->i, 50, &out->instance) != 0 || out->instance < 1) {
        return "the instance i= is not a number from 1 to 50"; /* RFC 8617 §4.2.1 */
    }
    return NULL;
}

bool dkim_body_fits(const struct dkim_signature *s, size_t count, const struct body_digest digests[], const char **reason) {
    struct buf bh = {0};
    bool fits = false;
    *reason = "the body hash was not computed: too many signatures";
    bool decodes = base64_decode(s->bh, true, &bh) == 0;
    if (!decodes) *reason = "bh= is not base 64";
    for (size_t i = 0; i < count && decodes; i++) {
        if (digests[i].kind.relaxed != s->body.relaxed || digests[i].kind.length != s->body.length) continue;
        fits = bh.n == BODY_HASH_BYTES && memcmp(bh.data, digests[i].digest, BODY_HASH_BYTES) == 0;
        *reason = fits ? "" : "the body hash does not fit: the body was changed";
        if (fits && s->body.length >= 0 && digests[i].hashed < (uint64_t)s->body.length) { /* §3.5 l= */
            fits = false;
            *reason = "l= is larger than the body";
        }
        break;
    }
    buf_free(&bh);
    return fits;
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

void dkim_canonical_field(struct slice raw, bool relaxed, struct buf *out) {
    if (!relaxed) {
        buf_add_slice(out, raw);
        return;
    }
    ptrdiff_t colon = slice_find(raw, ':');
    struct slice name = slice_trim(slice_head(raw, colon < 0 ? raw.n : (size_t)colon)), value = slice_trim(slice_skip(raw, (size_t)(colon + 1)));
    char *at = buf_reserve(out, raw.n + 2);
    size_t n = 0;
    for (size_t i = 0; i < name.n; i++) at[n++] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] | 0x20) : name.p[i];
    at[n++] = ':';
    for (size_t i = 0; i < value.n; i++) { /* §3.4.2: unfolded, runs of white space as one space */
        char c = value.p[i];
        if (c == '\r' && i + 1 < value.n && value.p[i + 1] == '\n') {
            i++;
            continue;
        }
        if (is_blank(c)) {
            while (i + 1 < value.n && (is_blank(value.p[i + 1]) || (value.p[i + 1] == '\r' && i + 2 < value.n && value.p[i + 2] == '\n') ||
                                       (value.p[i + 1] == '\n' && value.p[i] == '\r')))
                i++;
            at[n++] = ' ';
        } else {
            at[n++] = c;
        }
    }
    at[n++] = '\r';
    at[n++] = '\n';
    out->n += n;
    out->data[out->n] = 0;
}

void dkim_field_without_b(struct slice raw, bool relaxed, struct buf *out) {
    /* the b= tag's value goes, and nothing else (§3.7): found as a tag, not inside another one's value */
    struct buf field = {0};
    size_t start = (size_t)(slice_find(raw, ':') + 1), n = raw.n;
    for (size_t i = start; i < raw.n;) {
        size_t end = i;
        while (end < raw.n && raw.p[end] != ';') end++;
        size_t name = i;
        while (name < end && (is_blank(raw.p[name]) || raw.p[name] == '\r' || raw.p[name] == '\n')) name++;
        size_t after = name + 1;
        while (after < end && (is_blank(raw.p[after]) || raw.p[after] == '\r' || raw.p[after] == '\n')) after++;
        if (name < end && raw.p[name] == 'b' && after < end && raw.p[after] == '=') {
            buf_add(&field, raw.p, after + 1);
            if (end == raw.n && n >= 2 && memcmp(raw.p + n - 2, "\r\n", 2) == 0) end = n - 2;
            buf_add(&field, raw.p + end, raw.n - end);
            break;
        }
        i = end + 1;
    }
    if (!field.n) buf_add_slice(&field, raw);
    dkim_canonical_field(buf_slice(&field), relaxed, out);
    if (out->n >= 2 && memcmp(out->data + out->n - 2, "\r\n", 2) == 0) out->n -= 2;
    if (out->data) out->data[out->n] = 0;
    buf_free(&field);
}

void dkim_signed_header(struct slice header, const struct dkim_signature *s, struct slice signature_raw, struct buf *out) {
    struct header_field fields[DKIM_SIGNED_FIELDS_MAX];
    bool used[DKIM_SIGNED_FIELDS_MAX] = {false};
    size_t count = 0, at = 0;
    struct header_field f;
    struct slice list = s->h, name;
    while (header_next(header, &at, &f) == 1) { /* of more fields than that, the lowest are kept: signatures count from the bottom */
        if (count == DKIM_SIGNED_FIELDS_MAX) {
            memmove(fields, fields + 1, (count - 1) * sizeof *fields);
            count--;
        }
        fields[count++] = f;
    }
    for (bool more = list.n > 0; more;) {
        more = slice_cut(&list, ':', &name);
        if (!more) name = list;
        name = slice_trim(name);
        for (size_t i = count; i-- > 0;)
            if (!used[i] && slice_equal_nocase(fields[i].name, name) && fields[i].raw.p != signature_raw.p) {
                used[i] = true;
                dkim_canonical_field(fields[i].raw, s->relaxed_header, out);
                break;
            }
    }
    dkim_field_without_b(signature_raw, s->relaxed_header, out);
}
