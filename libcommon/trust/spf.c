/* check_host(): the terms of a record, left to right. include and redirect are done with a stack that is no deeper than the lookup limit. */
#include "libcommon/trust/spf.h"

#include <arpa/inet.h>

/* What a step of the evaluation ends with. PENDING stops everything until DNS has answered. */
enum step { STEP_NO_MATCH, STEP_MATCH, STEP_TEMPERROR, STEP_PERMERROR, STEP_PENDING };

struct check {
    struct arena *arena;
    const struct spf_query *query;
    const struct trust_dns *dns;
    struct spf_verdict *out;
    struct slice sender;
    bool v6;
    unsigned char ip[16];
    int depth;
};

/* A term of a record, taken apart (§4.6.1). */
struct term {
    char qualifier;
    struct slice name, spec; /* spec: behind ":" or "=", without CIDR lengths */
    int cidr4, cidr6;
    bool modifier;
};

const char *spf_result_text(enum spf_result r) {
    static const char *const words[] = {"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"};
    return words[r];
}

static void step_add(struct check *c, const char *text) {
    if (c->out->step_count < SPF_STEPS_MAX) c->out->steps[c->out->step_count++] = text;
}

static enum step wrong(struct check *c, const char *reason) {
    c->out->reason = reason;
    step_add(c, reason);
    return STEP_PERMERROR;
}

static bool is_host_name(struct slice d) {
    size_t label = 0, dots = 0;
    if (!d.n || d.n > 253) return false;
    for (size_t i = 0; i <= d.n; i++) {
        char ch = i < d.n ? d.p[i] : '.';
        if (ch == '.') {
            if (label == 0 || label > 63) return false;
            if (i < d.n) dots++;
            label = 0;
        } else {
            if ((unsigned char)ch <= ' ' || ch == 0x7f) return false;
            label++;
        }
    }
    return dots > 0; /* §4.3: a domain of one label is no domain to check */
}

/* DNS, counted: void lookups are bounded (§4.6.4). */
static const struct trust_answer *ask(struct check *c, struct slice name, int type, enum step *end) {
    const struct trust_answer *a = c->dns->lookup(c->dns->ctx, name, type);
    *end = STEP_NO_MATCH;
    if (!a) {
        *end = STEP_PENDING;
    } else if (a->status == TRUST_DNS_FAILED) {
        c->out->reason = arena_printf(c->arena, "DNS gave no answer for %.*s", SLICE_FMT(name));
        step_add(c, c->out->reason);
        *end = STEP_TEMPERROR;
    } else if (a->status != TRUST_DNS_OK && ++c->out->void_lookups > SPF_VOID_MAX) {
        *end = wrong(c, "more than two lookups found nothing (RFC 7208 section 4.6.4)");
    }
    return a;
}

static bool address_fits(const struct check *c, const unsigned char *address, bool v6, int cidr) {
    if (v6 != c->v6) return false;
    int bits = cidr < 0 ? (v6 ? 128 : 32) : cidr;
    if (memcmp(c->ip, address, (size_t)bits / 8) != 0) return false;
    return bits % 8 == 0 || ((c->ip[bits / 8] ^ address[bits / 8]) & (0xff << (8 - bits % 8) & 0xff)) == 0;
}

/* Whether one of the name's addresses, of the client's family, fits. */
static enum step name_fits(struct check *c, struct slice name, const struct term *t) {
    enum step end;
    const struct trust_answer *a = ask(c, name, c->v6 ? TRUST_AAAA : TRUST_A, &end);
    if (end != STEP_NO_MATCH) return end;
    for (size_t i = 0; i < a->count && a->status == TRUST_DNS_OK; i++)
        if (a->records[i].data.n == (c->v6 ? 16u : 4u) && address_fits(c, (const unsigned char *)a->records[i].data.p, c->v6, c->v6 ? t->cidr6 : t->cidr4))
            return STEP_MATCH;
    return STEP_NO_MATCH;
}

static enum step mechanism_mx(struct check *c, struct slice name, const struct term *t) {
    enum step end, worst = STEP_NO_MATCH;
    const struct trust_answer *a = ask(c, name, TRUST_MX, &end);
    if (end != STEP_NO_MATCH) return end;
    if (a->status == TRUST_DNS_OK && a->count > SPF_ADDRESSES_MAX) return wrong(c, "an mx has more than ten hosts (RFC 7208 section 4.6.4)");
    for (size_t i = 0; i < a->count && a->status == TRUST_DNS_OK; i++) { /* all are asked for before one that is pending stops it */
        if (!a->records[i].data.n) continue;
        enum step s = name_fits(c, a->records[i].data, t);
        if (s == STEP_MATCH && worst == STEP_NO_MATCH) return s;
        if (s > worst) worst = s;
    }
    return worst;
}

static struct slice reverse_name(struct check *c) {
    struct buf b = {0};
    if (c->v6)
        for (int i = 15; i >= 0; i--) buf_printf(&b, "%x.%x.", c->ip[i] & 15, c->ip[i] >> 4);
    else
        for (int i = 3; i >= 0; i--) buf_printf(&b, "%d.", c->ip[i]);
    buf_add_str(&b, c->v6 ? "ip6.arpa" : "in-addr.arpa");
    struct slice name = arena_slice(c->arena, buf_slice(&b));
    buf_free(&b);
    return name;
}

/* The client's names whose addresses lead back to it (§5.5). Errors of DNS count as no name. domain: what ptr compares with; for the p macro (§7.3) the
 * first that fits the domain best. */
static enum step validated_name(struct check *c, struct slice domain, struct slice *found) {
    const struct trust_answer *a = c->dns->lookup(c->dns->ctx, reverse_name(c), TRUST_PTR);
    bool pending = false;
    *found = SLICE("");
    if (!a) return STEP_PENDING;
    for (size_t i = 0; i < a->count && i < SPF_ADDRESSES_MAX && a->status == TRUST_DNS_OK; i++) {
        struct slice name = a->records[i].data;
        const struct trust_answer *back = c->dns->lookup(c->dns->ctx, name, c->v6 ? TRUST_AAAA : TRUST_A);
        if (!back) {
            pending = true;
            continue;
        }
        bool leads_back = false;
        for (size_t k = 0; k < back->count && back->status == TRUST_DNS_OK; k++)
            leads_back =
                leads_back || (back->records[k].data.n == (c->v6 ? 16u : 4u) && address_fits(c, (const unsigned char *)back->records[k].data.p, c->v6, -1));
        if (!leads_back) continue;
        bool within = slice_equal_nocase(name, domain) ||
                      (name.n > domain.n && name.p[name.n - domain.n - 1] == '.' && slice_equal_nocase(slice_skip(name, name.n - domain.n), domain));
        if (within) {
            *found = name;
            return pending ? STEP_PENDING : STEP_MATCH;
        }
        if (!found->n) *found = name;
    }
    return pending ? STEP_PENDING : STEP_NO_MATCH;
}

static enum step expand(struct check *c, struct slice spec, struct slice domain, struct slice *out) {
    struct slice validated = SLICE("");
    if (memmem(spec.p, spec.n, "%{p", 3) || memmem(spec.p, spec.n, "%{P", 3)) {
        enum step s = validated_name(c, domain, &validated);
        if (s == STEP_PENDING) return s;
    }
    if (spf_expand(c->arena, spec, c->query, c->sender, domain, validated, false, out) != 0) return wrong(c, "a macro is malformed");
    return STEP_NO_MATCH;
}

/* "/24", "//64", "/24//64" behind a or mx (§5.3): cut off spec. */
static bool take_cidr(struct slice *text, int *cidr4, int *cidr6) {
    uint64_t n;
    *cidr4 = *cidr6 = -1;
    struct slice macro_end = *text;
    ptrdiff_t brace = slice_find_last(macro_end, '}');
    size_t from = brace < 0 ? 0 : (size_t)brace;
    ptrdiff_t slash = slice_find(slice_skip(*text, from), '/');
    if (slash < 0) return true;
    struct slice rest = slice_skip(*text, from + (size_t)slash);
    *text = slice_head(*text, from + (size_t)slash);
    const char *two = rest.n >= 2 ? memmem(rest.p, rest.n, "//", 2) : NULL;
    struct slice v4 = two ? slice_head(rest, (size_t)(two - rest.p)) : rest, v6 = two ? slice_skip(rest, (size_t)(two - rest.p) + 2) : SLICE("");
    if (v4.n) {
        v4 = slice_skip(v4, 1);
        if (slice_to_u64(v4, 32, &n) != 0 || (v4.n > 1 && v4.p[0] == '0')) return false;
        *cidr4 = (int)n;
    }
    if (two) {
        if (slice_to_u64(v6, 128, &n) != 0 || (v6.n > 1 && v6.p[0] == '0')) return false;
        *cidr6 = (int)n;
    }
    return true;
}

static enum step mechanism_ip(struct check *c, const struct term *t, bool v6) {
    unsigned char address[16];
    char text[64];
    struct slice spec = t->spec, length = SLICE("");
    uint64_t bits = v6 ? 128 : 32;
    ptrdiff_t slash = slice_find(spec, '/');
    if (slash >= 0) {
        length = slice_skip(spec, (size_t)slash + 1);
        spec = slice_head(spec, (size_t)slash);
        if (slice_to_u64(length, bits, &bits) != 0 || (length.n > 1 && length.p[0] == '0')) return wrong(c, "the prefix length of an ip4 or ip6 is wrong");
    }
    if (!spec.n || spec.n >= sizeof text) return wrong(c, "an ip4 or ip6 has no address");
    memcpy(text, spec.p, spec.n);
    text[spec.n] = 0;
    if (inet_pton(v6 ? AF_INET6 : AF_INET, text, address) != 1) return wrong(c, "the address of an ip4 or ip6 is wrong");
    return address_fits(c, address, v6, (int)bits) ? STEP_MATCH : STEP_NO_MATCH;
}

/* "[+-?~]name[:spec][/cidr]" or "name=macro-string" (§4.6.1, §12). NULL, or what is wrong. */
static const char *term_parse(struct slice word, struct term *t) {
    *t = (struct term){.qualifier = '+', .cidr4 = -1, .cidr6 = -1};
    size_t n = 0;
    bool qualified = word.n && strchr("+-?~", word.p[0]) && word.p[0];
    if (qualified) {
        t->qualifier = word.p[0];
        word = slice_skip(word, 1);
    }
    while (n < word.n && ((word.p[n] >= 'a' && word.p[n] <= 'z') || (word.p[n] >= 'A' && word.p[n] <= 'Z') ||
                          (n && ((word.p[n] >= '0' && word.p[n] <= '9') || strchr("-_.", word.p[n])))))
        n++;
    t->name = slice_head(word, n);
    struct slice rest = slice_skip(word, n);
    if (!n) return "a term has no name";
    if (rest.n && rest.p[0] == '=') {
        if (qualified) return "a modifier has no qualifier";
        t->modifier = true;
        t->spec = slice_skip(rest, 1);
        return NULL;
    }
    if (rest.n && rest.p[0] == ':') {
        t->spec = slice_skip(rest, 1);
        if (!t->spec.n) return "a term's domain is empty";
    } else if (rest.n && rest.p[0] == '/') {
        t->spec = rest;
    } else if (rest.n) {
        return "a term is malformed";
    }
    return NULL;
}

static int check_host(struct check *c, struct slice domain, enum spf_result *result);

/* One mechanism (§5). */
static enum step mechanism(struct check *c, struct term *t, struct slice domain) {
    struct slice target = domain, found;
    bool is_a = slice_is_nocase(t->name, "a"), is_mx = slice_is_nocase(t->name, "mx"), is_ptr = slice_is_nocase(t->name, "ptr"),
         is_exists = slice_is_nocase(t->name, "exists"), is_include = slice_is_nocase(t->name, "include");
    if (slice_is_nocase(t->name, "all")) return t->spec.n ? wrong(c, "all has no domain") : STEP_MATCH;
    if (slice_is_nocase(t->name, "ip4")) return mechanism_ip(c, t, false);
    if (slice_is_nocase(t->name, "ip6")) return mechanism_ip(c, t, true);
    if (!is_a && !is_mx && !is_ptr && !is_exists && !is_include) return wrong(c, arena_printf(c->arena, "the mechanism %.*s is not known", SLICE_FMT(t->name)));
    if (++c->out->lookups > SPF_LOOKUPS_MAX) return wrong(c, "more than ten terms ask DNS (RFC 7208 section 4.6.4)");
    if ((is_a || is_mx) && !take_cidr(&t->spec, &t->cidr4, &t->cidr6)) return wrong(c, "a prefix length is wrong");
    if ((is_exists || is_include) && !t->spec.n) return wrong(c, "exists and include need a domain");
    if (!is_a && !is_mx && t->spec.n && t->spec.p[0] == '/') return wrong(c, "only a and mx have a prefix length");
    if (t->spec.n) {
        enum step s = expand(c, t->spec, domain, &target);
        if (s != STEP_NO_MATCH) return s;
    }
    if (is_a) return name_fits(c, target, t);
    if (is_mx) return mechanism_mx(c, target, t);
    if (is_ptr) {
        enum step s = validated_name(c, target, &found);
        return s;
    }
    if (is_exists) {
        enum step end;
        const struct trust_answer *a = ask(c, target, TRUST_A, &end); /* A, whatever the client's family (§5.7) */
        return end != STEP_NO_MATCH ? end : a->status == TRUST_DNS_OK ? STEP_MATCH : STEP_NO_MATCH;
    }
    enum spf_result inner;
    int pending = check_host(c, target, &inner); /* include: the table of §5.2 */
    if (pending) return STEP_PENDING;
    switch (inner) {
    case SPF_PASS: return STEP_MATCH;
    case SPF_FAIL:
    case SPF_SOFTFAIL:
    case SPF_NEUTRAL: return STEP_NO_MATCH;
    case SPF_TEMPERROR: return STEP_TEMPERROR;
    case SPF_NONE: return wrong(c, "an included domain has no SPF record");
    case SPF_PERMERROR: return STEP_PERMERROR;
    }
    return STEP_PERMERROR;
}

/* The domain's record (§4.5): 1 and *record, 0 for none, -1 with the result set. */
static int fetch_record(struct check *c, struct slice domain, struct slice *record, enum spf_result *result, bool *pending) {
    const struct trust_answer *a = c->dns->lookup(c->dns->ctx, domain, TRUST_TXT);
    size_t count = 0;
    if (!a) {
        *pending = true;
        return -1;
    }
    if (a->status == TRUST_DNS_FAILED) {
        *result = SPF_TEMPERROR;
        c->out->reason = arena_printf(c->arena, "DNS gave no answer for the SPF record of %.*s", SLICE_FMT(domain));
        return -1;
    }
    for (size_t i = 0; i < a->count && a->status == TRUST_DNS_OK; i++) {
        struct slice txt = a->records[i].data;
        if (slice_starts_nocase(txt, SLICE("v=spf1")) && (txt.n == 6 || txt.p[6] == ' ')) {
            *record = txt;
            count++;
        }
    }
    if (count > 1) {
        *result = SPF_PERMERROR;
        c->out->reason = arena_printf(c->arena, "%.*s has more than one SPF record", SLICE_FMT(domain));
        return -1;
    }
    if (count && record->n > SPF_RECORD_MAX) {
        *result = SPF_PERMERROR;
        c->out->reason = "the SPF record is too long";
        return -1;
    }
    return count ? 1 : 0;
}

static enum spf_result qualified(char q) { return q == '-' ? SPF_FAIL : q == '~' ? SPF_SOFTFAIL : q == '?' ? SPF_NEUTRAL : SPF_PASS; }

/* Fetches the explanation (§6.2): failures of any kind mean there is none. */
static int explain(struct check *c, struct slice spec, struct slice domain) {
    struct slice name, text;
    enum step s = expand(c, spec, domain, &name);
    const char *reason = c->out->reason;
    if (s == STEP_PENDING) return TRUST_PENDING;
    if (s != STEP_NO_MATCH || !name.n) return TRUST_DONE;
    const struct trust_answer *a = c->dns->lookup(c->dns->ctx, name, TRUST_TXT);
    if (!a) return TRUST_PENDING;
    c->out->reason = reason;
    if (a->status == TRUST_DNS_OK && a->count == 1 && spf_expand(c->arena, a->records[0].data, c->query, c->sender, domain, SLICE(""), true, &text) == 0) {
        for (size_t i = 0; i < text.n; i++)
            if ((unsigned char)text.p[i] >= 0x80 || (unsigned char)text.p[i] < ' ') return TRUST_DONE; /* §6.2: ASCII only */
        c->out->explanation = arena_copy(c->arena, slice_head(text, 500));
    }
    return TRUST_DONE;
}

/* The terms of one record, first checked as a whole: a syntax error anywhere is a permerror (§4.6). */
static int evaluate(struct check *c, struct slice record, struct slice domain, enum spf_result *result) {
    struct slice rest = slice_skip(record, 6), word, redirect = {0}, exp = {0};
    struct term t;
    size_t redirects = 0, exps = 0;
    *result = SPF_PERMERROR;
    for (struct slice look = rest;;) {
        look = slice_trim(look);
        if (!look.n) break;
        if (!slice_cut(&look, ' ', &word)) word = look, look.n = 0;
        const char *bad = term_parse(word, &t);
        if (bad) {
            wrong(c, arena_printf(c->arena, "%s: %.*s", bad, SLICE_FMT(slice_head(word, 100))));
            return TRUST_DONE;
        }
        if (!t.modifier) continue;
        if (slice_is_nocase(t.name, "redirect")) redirect = t.spec, redirects++;
        if (slice_is_nocase(t.name, "exp")) exp = t.spec, exps++;
    }
    if (redirects > 1 || exps > 1 || (redirects && !redirect.n) || (exps && !exp.n)) { /* §6 */
        wrong(c, "redirect and exp may each be there once, with a domain");
        return TRUST_DONE;
    }
    while ((rest = slice_trim(rest)).n) {
        if (!slice_cut(&rest, ' ', &word)) word = rest, rest.n = 0;
        term_parse(word, &t);
        if (t.modifier) continue;
        enum step s = mechanism(c, &t, domain);
        if (s == STEP_PENDING) return TRUST_PENDING;
        step_add(c, arena_printf(c->arena, "%.*s: %.*s %s", SLICE_FMT(domain), SLICE_FMT(word),
                                 s == STEP_MATCH      ? "matches"
                                 : s == STEP_NO_MATCH ? "does not match"
                                                      : "is an error"));
        if (s == STEP_TEMPERROR || s == STEP_PERMERROR) {
            *result = s == STEP_TEMPERROR ? SPF_TEMPERROR : SPF_PERMERROR;
            return TRUST_DONE;
        }
        if (s != STEP_MATCH) continue;
        *result = qualified(t.qualifier);
        c->out->mechanism = arena_copy(c->arena, word);
        c->out->domain = arena_copy(c->arena, domain);
        c->out->reason = arena_printf(c->arena, "%.*s of %.*s matches", SLICE_FMT(word), SLICE_FMT(domain));
        return *result == SPF_FAIL && exp.n && c->depth == 1 ? explain(c, exp, domain) : TRUST_DONE;
    }
    if (redirects) { /* §6.1 */
        struct slice target;
        if (++c->out->lookups > SPF_LOOKUPS_MAX) {
            wrong(c, "more than ten terms ask DNS (RFC 7208 section 4.6.4)");
            return TRUST_DONE;
        }
        enum step s = expand(c, redirect, domain, &target);
        if (s == STEP_PENDING) return TRUST_PENDING;
        if (s != STEP_NO_MATCH) return TRUST_DONE;
        c->depth--; /* the redirected record stands in this one's place */
        int pending = check_host(c, target, result);
        c->depth++;
        if (!pending && *result == SPF_NONE) {
            *result = SPF_PERMERROR;
            c->out->reason = "the redirect leads to a domain without an SPF record";
        }
        return pending;
    }
    *result = SPF_NEUTRAL; /* §4.7 */
    c->out->mechanism = "default";
    c->out->domain = arena_copy(c->arena, domain);
    c->out->reason = arena_printf(c->arena, "nothing in the record of %.*s matches", SLICE_FMT(domain));
    return TRUST_DONE;
}

static int check_host(struct check *c, struct slice domain, enum spf_result *result) {
    struct slice record;
    bool pending = false;
    *result = SPF_NONE;
    if (!is_host_name(domain)) { /* §4.3 */
        c->out->reason = "the domain is no domain name";
        return TRUST_DONE;
    }
    int got = fetch_record(c, domain, &record, result, &pending);
    if (pending) return TRUST_PENDING;
    if (got < 0) {
        step_add(c, c->out->reason);
        return TRUST_DONE;
    }
    if (got == 0) {
        c->out->reason = arena_printf(c->arena, "%.*s has no SPF record", SLICE_FMT(domain));
        step_add(c, c->out->reason);
        return TRUST_DONE;
    }
    step_add(c, arena_printf(c->arena, "%.*s: %.*s", SLICE_FMT(domain), SLICE_FMT(slice_head(record, 500))));
    c->depth++; /* bounded by SPF_LOOKUPS_MAX: each deeper level is an include or redirect */
    int more = evaluate(c, record, domain, result);
    c->depth--;
    return more;
}

int spf_check(struct arena *arena, const struct spf_query *q, const struct trust_dns *dns, struct spf_verdict *out) {
    struct spf_query query = *q;
    struct check c = {.arena = arena, .query = &query, .dns = dns, .out = out};
    char text[64];
    *out =
        (struct spf_verdict){.reason = "", .mechanism = "", .domain = "", .explanation = "", .steps = arena_alloc(arena, SPF_STEPS_MAX * sizeof *out->steps)};
    if (q->ip.n >= sizeof text) {
        out->reason = "the client has no address";
        return TRUST_DONE;
    }
    memcpy(text, q->ip.p, q->ip.n);
    text[q->ip.n] = 0;
    if (inet_pton(AF_INET, text, c.ip) != 1) {
        if (inet_pton(AF_INET6, text, c.ip) != 1) {
            out->reason = "the client has no address";
            return TRUST_DONE;
        }
        static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
        c.v6 = memcmp(c.ip, mapped, 12) != 0;
        if (!c.v6) { /* §5: treated as IPv4 */
            memmove(c.ip, c.ip + 12, 4);
            query.ip = slice_of(arena_printf(arena, "%d.%d.%d.%d", c.ip[0], c.ip[1], c.ip[2], c.ip[3]));
        }
    }
    struct slice sender = q->helo_identity || !q->sender.n ? slice_of(arena_printf(arena, "postmaster@%.*s", SLICE_FMT(q->helo))) : q->sender;
    ptrdiff_t at = slice_find_last(sender, '@');
    if (at <= 0) sender = slice_of(arena_printf(arena, "postmaster@%.*s", SLICE_FMT(slice_skip(sender, (size_t)(at + 1))))); /* §4.3 */
    c.sender = sender;
    struct slice domain = slice_skip(sender, (size_t)(slice_find_last(sender, '@') + 1));
    if (domain.n && domain.p[domain.n - 1] == '.') domain.n--;
    out->domain = arena_copy(arena, domain);
    return check_host(&c, domain, &out->result);
}
