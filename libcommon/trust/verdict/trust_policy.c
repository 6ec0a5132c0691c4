#include "libcommon/trust/verdict/trust_policy.h"

#include <arpa/inet.h>

#include "libcommon/mail/domain.h"

/* A domain as conditions are compared: lower case, A-labels, a leading dot kept. p NULL: it is not
 * a domain. */
static struct slice take_domain(struct arena *arena, struct slice text) {
    char name[DOMAIN_BYTES];
    bool below = text.n && text.p[0] == '.';
    if (domain_normalise(slice_skip(text, below ? 1 : 0), name) != 0) return (struct slice){NULL, 0};
    return slice_of(arena_printf(arena, "%s%s", below ? "." : "", name));
}

/* The address in network byte order; false when it is not an address. */
static bool take_address(struct slice text, unsigned char out[16], bool *v6) {
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char copy[64];
    if (!text.n || text.n >= sizeof copy) return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    *v6 = inet_pton(AF_INET, copy, out) != 1;
    if (*v6 && inet_pton(AF_INET6, copy, out) != 1) return false;
    if (*v6 && memcmp(out, mapped, sizeof mapped) == 0) {
        *v6 = false;
        memmove(out, out + sizeof mapped, 4);
    }
    return true;
}

static bool take_network(struct slice text, struct trust_override *o) {
    uint64_t bits = 0;
    struct slice address;
    bool prefix = slice_cut(&text, '/', &address);
    if (!take_address(prefix ? address : text, o->network, &o->v6)) return false;
    if (prefix && slice_to_u64(text, o->v6 ? 128 : 32, &bits) != 0) return false;
    o->bits = prefix ? (int)bits : o->v6 ? 128 : 32;
    o->has_network = true;
    return true;
}

static bool take_action(struct slice word, enum trust_action *out) {
    static const char *const words[] = {"none", "accept", "quarantine", "hold", "reject"};
    for (int i = 0; i < 5; i++)
        if (slice_is_nocase(word, words[i])) {
            *out = (enum trust_action)i;
            return true;
        }
    return false;
}

/* NULL, or the fault of the row. */
static const char *take_row(struct arena *arena, struct slice row, struct trust_override *o) {
    struct slice rest = row, word, name;
    int conditions = 0;
    bool acts = false;
    *o = (struct trust_override){.text = row};
    while ((rest = slice_trim(rest)).n) {
        if (acts) return "the action is a row's last word";
        size_t n = 0;
        while (n < rest.n && rest.p[n] != ' ' && rest.p[n] != '\t' && rest.p[n] != '\n' && rest.p[n] != '\r') n++;
        word = slice_head(rest, n);
        rest = slice_skip(rest, n);
        struct slice value = word;
        if (!slice_cut(&value, '=', &name)) {
            if (!take_action(word, &o->action)) return "a row ends with accept, quarantine, hold, reject or none";
            acts = true;
            continue;
        }
        struct slice *place = slice_is(name, "from")     ? &o->from
                              : slice_is(name, "spf")    ? &o->spf
                              : slice_is(name, "sealer") ? &o->sealer
                                                         : NULL;
        if (place) {
            *place = take_domain(arena, value);
            if (!place->p) return "a condition has no domain name";
        } else if (!slice_is(name, "ip")) {
            return "a condition is from=, ip=, sealer= or spf=";
        } else if (!take_network(value, o)) {
            return "ip= is no address or network";
        }
        conditions++;
    }
    if (!acts) return "a row has no action";
    return conditions ? NULL : "a row has no condition";
}

static const char *take_overrides(struct arena *arena, struct slice text, struct trust_policy *p) {
    struct slice row;
    p->overrides = arena_alloc(arena, TRUST_OVERRIDES_MAX * sizeof *p->overrides);
    while (text.n) {
        if (!slice_cut(&text, ';', &row)) row = text, text.n = 0;
        row = slice_trim(row);
        if (!row.n) continue;
        if (p->override_count == TRUST_OVERRIDES_MAX) return "POSTBUS_DMARC_OVERRIDES: there are more than 500 rows";
        const char *wrong = take_row(arena, arena_slice(arena, row), &p->overrides[p->override_count++]);
        if (wrong)
            return arena_printf(arena, "POSTBUS_DMARC_OVERRIDES: %s: %.*s", wrong, SLICE_FMT(slice_head(row, 200)));
    }
    return NULL;
}

static const char *take_sealers(struct arena *arena, struct slice text, struct trust_policy *p) {
    struct slice one;
    p->sealers = arena_alloc(arena, TRUST_SEALERS_MAX * sizeof *p->sealers);
    while (text.n) {
        if (!slice_cut(&text, ',', &one)) one = text, text.n = 0;
        one = slice_trim(one);
        if (!one.n) continue;
        struct slice domain = take_domain(arena, one);
        if (!domain.p || domain.p[0] == '.')
            return arena_printf(arena, "POSTBUS_ARC_TRUSTED: %.*s is no domain name", SLICE_FMT(slice_head(one, 200)));
        if (p->sealer_count == TRUST_SEALERS_MAX) return "POSTBUS_ARC_TRUSTED: there are more than 100 domains";
        p->sealers[p->sealer_count++] = domain;
    }
    return NULL;
}

/* One of two words: 0, 1 for the second, -1 for another. The first is the default. */
static int one_of(const char *text, const char *first, const char *second) {
    struct slice s = slice_trim(slice_of(text));
    return !s.n || slice_is_nocase(s, first) ? 0 : slice_is_nocase(s, second) ? 1 : -1;
}

const struct trust_policy *trust_policy_parse(struct arena *arena, const struct trust_settings *s, const char **wrong) {
    struct trust_policy *p = arena_alloc(arena, sizeof *p);
    int how = one_of(s->discovery, "treewalk", "psl"), spf = one_of(s->spf, "mark", "reject"),
        iprev = one_of(s->iprev, "mark", "reject");
    *wrong = how < 0     ? "POSTBUS_DMARC_DISCOVERY: treewalk or psl"
             : spf < 0   ? "POSTBUS_SPF_FAIL: mark or reject"
             : iprev < 0 ? "POSTBUS_IPREV_FAIL: mark or reject"
                         : NULL;
    p->discovery = how > 0 ? DMARC_PUBLIC_SUFFIXES : DMARC_TREE_WALK;
    p->reject_spf_fail = spf > 0;
    p->reject_iprev_fail = iprev > 0;
    if (!*wrong) *wrong = take_sealers(arena, slice_of(s->sealers), p);
    if (!*wrong) *wrong = take_overrides(arena, slice_of(s->overrides), p);
    return *wrong ? NULL : p;
}

bool trust_override_fits_client(const struct trust_override *o, struct slice ip) {
    unsigned char address[16];
    bool v6;
    if (!o->has_network) return true;
    if (!take_address(ip, address, &v6) || v6 != o->v6 || memcmp(address, o->network, (size_t)o->bits / 8) != 0)
        return false;
    return o->bits % 8 == 0 ||
           ((address[o->bits / 8] ^ o->network[o->bits / 8]) & (0xff << (8 - o->bits % 8) & 0xff)) == 0;
}

bool trust_override_fits_domain(struct slice condition, struct slice name) {
    if (!condition.n) return true;
    if (condition.p[0] != '.') return slice_equal_nocase(condition, name);
    struct slice domain = slice_skip(condition, 1);
    return slice_equal_nocase(domain, name) ||
           (name.n > condition.n && slice_equal_nocase(condition, slice_skip(name, name.n - condition.n)));
}
