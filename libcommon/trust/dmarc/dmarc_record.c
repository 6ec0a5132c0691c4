/* A DMARC record's tags (RFC 9989 §4.7, §4.8). */
#include "libcommon/trust/dmarc/dmarc.h"

enum { RI_DEFAULT = 86400 };

const char *dmarc_result_text(enum dmarc_result r) {
    static const char *const words[] = {"none", "pass", "fail", "temperror", "permerror"};
    return words[r];
}

const char *dmarc_policy_text(enum dmarc_policy p) {
    static const char *const words[] = {"none", "quarantine", "reject"};
    return words[p];
}

/* "name = value" of one part between semicolons; false when the part is malformed and must be
 * ignored (§4.8). */
static bool take_tag(struct slice part, struct slice *name, struct slice *value) {
    if (!slice_cut(&part, '=', name)) return false;
    *name = slice_trim(*name);
    *value = slice_trim(part);
    for (size_t i = 0; i < value->n; i++) /* dmarc-value: printing characters (§4.8) */
        if (value->p[i] < ' ' || value->p[i] > '~') return false;
    return name->n > 0 && value->n > 0;
}

/* The words of the grammar are ABNF literals, which are case-insensitive (RFC 5234 §2.3); only
 * DMARC1 is case-sensitive (§4.7). */
static bool take_policy(struct slice v, enum dmarc_policy *out) {
    for (int p = DMARC_POLICY_NONE; p <= DMARC_POLICY_REJECT; p++)
        if (slice_is_nocase(v, dmarc_policy_text((enum dmarc_policy)p))) {
            *out = (enum dmarc_policy)p;
            return true;
        }
    return false;
}

/* dmarc-fo (§4.8): 0 or 1, d, s, each at most once, 0 and 1 not together. */
static bool fo_is_valid(struct slice v) {
    bool seen[4] = {false};
    struct slice one;
    for (bool more = true; more;) {
        more = slice_cut(&v, ':', &one);
        one = slice_trim(more ? one : v);
        const char *at = one.n == 1 && one.p[0] ? strchr("01ds", one.p[0] | (one.p[0] > '9' ? 0x20 : 0)) : NULL;
        if (!at || seen[at - "01ds"]) return false;
        seen[at - "01ds"] = true;
    }
    return !(seen[0] && seen[1]);
}

/* The state of the tags that may make a record unusable. */
struct reading {
    struct dmarc_record *record;
    bool has_p, bad_policy, has_t;
};

enum tag_id {
    TAG_P,
    TAG_SP,
    TAG_NP,
    TAG_ADKIM,
    TAG_ASPF,
    TAG_PCT,
    TAG_T,
    TAG_PSD,
    TAG_RUA,
    TAG_RUF,
    TAG_FO,
    TAG_RI,
    TAG_COUNT
};
static const char *const tag_names[TAG_COUNT] = {"p", "sp",  "np",  "adkim", "aspf", "pct",
                                                 "t", "psd", "rua", "ruf",   "fo",   "ri"};

static void take_value(struct reading *r, enum tag_id id, struct slice v) {
    struct dmarc_record *out = r->record;
    uint64_t number;
    switch (id) {
    case TAG_P: r->has_p = take_policy(v, &out->p); break;
    case TAG_SP: r->bad_policy |= !(out->has_sp = take_policy(v, &out->sp)); break;
    case TAG_NP: r->bad_policy |= !(out->has_np = take_policy(v, &out->np)); break;
    case TAG_ADKIM: out->strict_dkim = slice_is_nocase(v, "s"); break;
    case TAG_ASPF: out->strict_spf = slice_is_nocase(v, "s"); break;
    case TAG_PCT:
        if (slice_to_u64(v, 100, &number) == 0) out->pct = (int)number;
        break;
    case TAG_T:
        r->has_t = true;
        out->testing = slice_is_nocase(v, "y");
        break;
    case TAG_PSD:
        if (slice_is_nocase(v, "y") || slice_is_nocase(v, "n")) out->psd = (char)(v.p[0] | 0x20);
        break;
    case TAG_RUA: out->rua = v; break;
    case TAG_RUF: out->ruf = v; break;
    case TAG_FO:
        if (fo_is_valid(v)) out->fo = v;
        break;
    case TAG_RI:
        if (slice_to_u64(v, UINT32_MAX, &number) == 0) out->ri = (uint32_t)number;
        break;
    case TAG_COUNT: break;
    }
}

int dmarc_record_parse(struct slice txt, struct dmarc_record *out) {
    struct reading r = {.record = out};
    struct slice rest = txt, part, name, value, values[TAG_COUNT] = {{0}};
    int times[TAG_COUNT] = {0};
    *out = (struct dmarc_record){.pct = 100, .psd = 'u', .fo = SLICE("0"), .ri = RI_DEFAULT};
    if (txt.n > DMARC_RECORD_MAX) return -1;
    bool more = slice_cut(&rest, ';', &part);
    if (!more) part = txt;
    /* §4.7: a record must begin with the tag v and the value DMARC1. The grammar (§4.8) allows no
     * space before it */
    if (!part.n || (part.p[0] | 0x20) != 'v' || !take_tag(part, &name, &value) || name.n != 1 ||
        !slice_is(value, "DMARC1"))
        return -1;
    while (more) {
        more = slice_cut(&rest, ';', &part);
        if (!take_tag(more ? part : rest, &name, &value)) continue;
        for (int id = 0; id < TAG_COUNT; id++)
            if (slice_is_nocase(name, tag_names[id])) {
                values[id] = value;
                times[id]++;
            }
    }
    for (int id = 0; id < TAG_COUNT; id++) {
        if (times[id] == 1) take_value(&r, (enum tag_id)id, values[id]);
        /* a tag that occurs twice is malformed (RFC 6376 §3.2), and has its default value (§4.8) */
        if (times[id] > 1 && (id == TAG_SP || id == TAG_NP)) r.bad_policy = true;
    }
    if (r.has_t) out->pct = 100;
    out->usable = true;
    if (!r.has_p || r.bad_policy) { /* §4.10.1: counts as p=none if there is an address for
                                       reports */
        struct slice list = out->rua;
        struct dmarc_uri uri;
        out->usable = dmarc_uri_next(&list, &uri);
        out->p = DMARC_POLICY_NONE;
        out->has_sp = out->has_np = false;
    }
    return 0;
}

/* scheme ":" and at least one byte that is allowed in a URI (RFC 3986); for mailto an address (RFC
 * 6068 §2). */
static bool uri_is_valid(struct slice uri) {
    ptrdiff_t colon = slice_find(uri, ':');
    if (colon < 1 || (size_t)colon + 1 == uri.n) return false;
    for (size_t i = 0; i < uri.n; i++) {
        char c = uri.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), digit = c >= '0' && c <= '9';
        if ((ptrdiff_t)i < colon ? !(letter || (i && (digit || c == '+' || c == '-' || c == '.')))
                                 : c <= ' ' || c > '~' || strchr("\"<>\\^`{|}!", c))
            return false;
    }
    if (!slice_starts_nocase(uri, SLICE("mailto:"))) return true;
    struct slice address = slice_skip(uri, strlen("mailto:"));
    ptrdiff_t at = slice_find(address, '@');
    return at > 0 && (size_t)at + 1 < address.n && address.p[at + 1] != '?';
}

/* The digits and unit behind "!" (RFC 7489 §6.4): 0, or -1. */
static int size_of(struct slice text, uint64_t *out) {
    unsigned shift = 0;
    if (text.n) {
        switch (text.p[text.n - 1] | 0x20) {
        case 'k': shift = 10; break;
        case 'm': shift = 20; break;
        case 'g': shift = 30; break;
        case 't': shift = 40; break;
        default: break;
        }
    }
    if (slice_to_u64(slice_head(text, text.n - (shift ? 1 : 0)), UINT64_MAX >> shift, out)) return -1;
    *out <<= shift;
    return 0;
}

bool dmarc_uri_next(struct slice *list, struct dmarc_uri *out) {
    struct slice one;
    while (list->n) {
        if (!slice_cut(list, ',', &one)) {
            one = *list;
            *list = slice_skip(*list, list->n);
        }
        *out = (struct dmarc_uri){.uri = slice_trim(one)};
        ptrdiff_t mark = slice_find_last(out->uri, '!');
        if (mark >= 0) {
            if (size_of(slice_skip(out->uri, (size_t)mark + 1), &out->size_limit)) continue;
            out->uri = slice_head(out->uri, (size_t)mark);
        }
        if (uri_is_valid(out->uri)) return true;
    }
    return false;
}
