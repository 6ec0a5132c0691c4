/* The grammar of a record (RFC 7208 §4.6.1, §12). */
#include <arpa/inet.h>

#include "libcommon/trust/spf/spf_record.h"

static bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool spf_next_word(struct slice *rest, struct slice *word) {
    while (rest->n && rest->p[0] == ' ') *rest = slice_skip(*rest, 1);
    if (!rest->n) return false;
    if (!slice_cut(rest, ' ', word)) *word = *rest, *rest = slice_skip(*rest, rest->n);
    return true;
}

/* "0", or digits that do not begin with one: at most `max` (§5.3: 32 or 128). */
static bool read_prefix(struct slice digits, int max, int *value) {
    uint64_t n;
    if (slice_to_u64(digits, (uint64_t)max, &n) != 0 || (digits.n > 1 && digits.p[0] == '0')) return false;
    *value = (int)n;
    return true;
}

/* The position at which the digits at the end of s begin. */
static size_t digits_at(struct slice s) {
    size_t at = s.n;
    while (at && is_digit(s.p[at - 1])) at--;
    return at;
}

/* Cuts dual-cidr-length (§5.3: "/24", "//64", "/24//64") from the end of s, and only from the end,
 * because names may contain "/". */
static bool take_dual_cidr(struct slice *s, struct spf_term *t) {
    size_t at = digits_at(*s);
    if (at < s->n && at >= 2 && s->p[at - 1] == '/' && s->p[at - 2] == '/') {
        if (!read_prefix(slice_skip(*s, at), 128, &t->cidr6)) return false;
        *s = slice_head(*s, at - 2);
        at = digits_at(*s);
    }
    if (at < s->n && at >= 1 && s->p[at - 1] == '/') {
        if (!read_prefix(slice_skip(*s, at), 32, &t->cidr4)) return false;
        *s = slice_head(*s, at - 1);
    }
    return true;
}

/* ":" ip4-network [ip4-cidr-length] or the same of ip6 (§5.6). */
static const char *parse_network(struct slice rest, struct spf_term *t) {
    char text[INET6_ADDRSTRLEN + 1];
    bool v6 = t->kind == SPF_IP6;
    if (rest.n < 2 || rest.p[0] != ':') return "an ip4 or ip6 needs an address";
    rest = slice_skip(rest, 1);
    ptrdiff_t slash = slice_find(rest, '/');
    if (slash >= 0) {
        if (!read_prefix(slice_skip(rest, (size_t)slash + 1), v6 ? 128 : 32, v6 ? &t->cidr6 : &t->cidr4))
            return "a prefix length is wrong";
        rest = slice_head(rest, (size_t)slash);
    }
    if (rest.n >= sizeof text || memchr(rest.p, 0, rest.n)) return "an address is wrong";
    memcpy(text, rest.p, rest.n);
    text[rest.n] = 0;
    return inet_pton(v6 ? AF_INET6 : AF_INET, text, t->address) == 1 ? NULL : "an address is wrong";
}

/* Parses the text after the name of a mechanism (§5). */
static const char *parse_mechanism(struct slice rest, struct spf_term *t) {
    switch (t->kind) {
    case SPF_ALL: return rest.n ? "all stands alone" : NULL;
    case SPF_IP4:
    case SPF_IP6: return parse_network(rest, t);
    case SPF_A:
    case SPF_MX:
        if (!take_dual_cidr(&rest, t)) return "a prefix length is wrong";
        break;
    case SPF_INCLUDE:
    case SPF_EXISTS:
        if (!rest.n) return "include and exists need a domain";
        break;
    default: break;
    }
    if (!rest.n) return NULL;
    if (rest.p[0] != ':') return "what follows the name is no domain and no prefix length";
    t->spec = slice_skip(rest, 1);
    if (!t->spec.n) return "a domain is empty";
    return spf_is_domain_spec(t->spec) ? NULL : "a domain is malformed, or has a macro that is";
}

/* name "=" macro-string (§6). redirect and exp are never unknown modifiers, even if their value is
 * malformed. */
static const char *parse_modifier(struct slice name, struct slice value, struct spf_term *t) {
    t->kind = slice_is_nocase(name, "redirect") ? SPF_REDIRECT : slice_is_nocase(name, "exp") ? SPF_EXP : SPF_OTHER;
    t->spec = value;
    if (t->kind == SPF_OTHER) return spf_is_macro_string(value, false) ? NULL : "a modifier has a malformed macro";
    return spf_is_domain_spec(value) ? NULL : "redirect and exp need a well-formed domain";
}

const char *spf_term_parse(struct slice word, struct spf_term *t) {
    static const char *const names[] = {
        [SPF_ALL] = "all", [SPF_INCLUDE] = "include", [SPF_A] = "a",     [SPF_MX] = "mx",
        [SPF_PTR] = "ptr", [SPF_IP4] = "ip4",         [SPF_IP6] = "ip6", [SPF_EXISTS] = "exists"};
    *t = (struct spf_term){.text = word, .qualifier = '+', .cidr4 = 32, .cidr6 = 128, .spec = SLICE("")};
    bool qualified = word.n && word.p[0] && strchr("+-?~", word.p[0]);
    if (qualified) {
        t->qualifier = word.p[0];
        word = slice_skip(word, 1);
    }
    size_t n = 0;
    while (n < word.n &&
           (is_alpha(word.p[n]) || (n && (is_digit(word.p[n]) || (word.p[n] && strchr("-_.", word.p[n]))))))
        n++;
    struct slice name = slice_head(word, n), rest = slice_skip(word, n);
    if (!n) return "a term has no name";
    if (rest.n && rest.p[0] == '=')
        return qualified ? "a modifier has no qualifier" : parse_modifier(name, slice_skip(rest, 1), t);
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        if (!slice_is_nocase(name, names[k])) continue;
        t->kind = (enum spf_kind)k;
        return parse_mechanism(rest, t);
    }
    return "there is no such mechanism";
}

const char *spf_record_parse(struct slice terms, struct slice *redirect, struct slice *exp, struct slice *wrong) {
    struct slice word;
    struct spf_term t;
    *redirect = *exp = SLICE("");
    while (spf_next_word(&terms, &word)) {
        *wrong = word;
        const char *why = spf_term_parse(word, &t);
        if (why) return why;
        struct slice *once = t.kind == SPF_REDIRECT ? redirect : t.kind == SPF_EXP ? exp : NULL;
        if (once && once->n) return "redirect and exp may each be there once"; /* §6 */
        if (once) *once = t.spec;
    }
    return NULL;
}
