/* Whether an ARC chain overrides a DMARC failure (RFC 8617 §7.2): the message passed at a sealer
 * that this site trusts, and all later sealers are trusted too. (An untrusted sealer in between
 * could have put the sets of one message onto another.) */
#include "libcommon/trust/dkim/dkim.h"
#include "libcommon/trust/tags.h"
#include "libcommon/trust/verdict/results_read.h"
#include "libcommon/trust/verdict/trust_private.h"

enum { COMMENT_SETS_MAX = 8, RESULTS_MAX = 60 };

struct seal {
    struct slice domain, selector; /* of ARC-Seal */
    struct slice results;          /* ARC-Authentication-Results, after its instance */
    bool covers_author;            /* its message signature covers the From field */
};

/* Collects the sets of a chain that passes: each instance has each field once (§5.2). */
static void collect(struct slice header, struct seal *seals, size_t count) {
    struct header_field f;
    size_t at = 0;
    uint64_t i;
    while (header_next(header, &at, &f) == 1) {
        struct slice rest = f.value, first;
        if (slice_is_nocase(f.name, "ARC-Seal")) {
            if (slice_to_u64(tag_find(f.value, "i"), count, &i) != 0 || i < 1) continue;
            seals[i - 1].domain = tag_find(f.value, "d");
            seals[i - 1].selector = tag_find(f.value, "s");
        } else if (slice_is_nocase(f.name, "ARC-Message-Signature")) {
            if (slice_to_u64(tag_find(f.value, "i"), count, &i) != 0 || i < 1) continue;
            seals[i - 1].covers_author = dkim_list_has(tag_find(f.value, "h"), "from");
        } else if (slice_is_nocase(f.name, "ARC-Authentication-Results")) {
            if (!slice_cut(&rest, ';', &first) || slice_to_u64(tag_find(first, "i"), count, &i) != 0 || i < 1) continue;
            seals[i - 1].results = rest;
        }
    }
}

static bool is_trusted(const struct trust_policy *p, struct slice domain) {
    for (size_t i = 0; i < p->sealer_count; i++)
        if (slice_equal_nocase(p->sealers[i], domain)) return true;
    return false;
}

/* The domain of an address, or the text itself. */
static struct slice domain_of(struct slice value) {
    return slice_skip(value, (size_t)(slice_find_last(value, '@') + 1));
}

/* Whether a domain can authenticate the author: it is the author's domain, or below the author's
 * organizational domain if that is known. */
static bool speaks_for(const struct trust_result *r, struct slice domain) {
    struct slice organization = slice_of(r->dmarc.organizational_domain);
    if (slice_is_nocase(domain, r->dmarc.from_domain)) return true;
    if (!organization.n || domain.n < organization.n || r->dmarc.record.strict_dkim || r->dmarc.record.strict_spf)
        return false;
    struct slice tail = slice_skip(domain, domain.n - organization.n);
    return slice_equal_nocase(tail, organization) &&
           (domain.n == organization.n || domain.p[domain.n - organization.n - 1] == '.');
}

/* Whether the results of a set authenticate the author: dmarc=pass, or a pass of spf or dkim for
 * the author's domain. */
static bool says_pass(struct arena *arena, const struct trust_result *r, struct slice value, struct slice *remote_ip) {
    struct results_one one;
    struct slice id;
    bool pass = false;
    *remote_ip = SLICE("");
    if (results_authserv_id(arena, &value, &id) != 0) return false;
    for (size_t n = 0; n < RESULTS_MAX && results_next(arena, &value, &one) == 1; n++) {
        struct slice ip = results_property(&one, "smtp", "remote-ip");
        if (ip.n) *remote_ip = ip;
        if (!slice_is_nocase(one.result, "pass")) continue;
        if (slice_is_nocase(one.method, "dmarc")) {
            struct slice from = results_property(&one, "header", "from");
            pass |= slice_is_nocase(domain_of(from), r->dmarc.from_domain);
        } else if (slice_is_nocase(one.method, "dkim")) {
            struct slice d = results_property(&one, "header", "d");
            pass |= speaks_for(r, d.n ? d : domain_of(results_property(&one, "header", "i")));
        } else if (slice_is_nocase(one.method, "spf")) {
            struct slice from = results_property(&one, "smtp", "mailfrom");
            pass |= from.n && speaks_for(r, domain_of(from));
        }
    }
    return pass;
}

/* Adds received text to the comment of a report, as printable ASCII. */
static void add_printable(struct buf *out, struct slice s) {
    for (size_t i = 0; i < s.n && i < 255; i++) buf_add_char(out, s.p[i] > ' ' && s.p[i] <= '~' ? s.p[i] : '?');
}

const char *trust_chain_vouches(struct arena *arena, const struct trust_input *in, const struct trust_result *r) {
    if (!in->policy || !in->policy->sealer_count || r->arc.result != ARC_PASS || !r->arc.sets ||
        r->arc.sets > ARC_SETS_MAX)
        return NULL;
    struct seal *seals = arena_alloc(arena, r->arc.sets * sizeof *seals);
    struct slice remote_ip;
    struct buf comment = {0};
    collect(in->header, seals, r->arc.sets);
    if (!seals[r->arc.sets - 1].covers_author)
        return NULL; /* the results could be those of another
                        author's message */
    for (size_t k = r->arc.sets; k > 0 && is_trusted(in->policy, seals[k - 1].domain); k--) {
        if (!says_pass(arena, r, seals[k - 1].results, &remote_ip)) continue;
        buf_add_str(&comment, "arc=pass");
        for (size_t i = r->arc.sets; i > 0 && i + COMMENT_SETS_MAX > r->arc.sets; i--) {
            buf_printf(&comment, " as[%zu].d=", i);
            add_printable(&comment, seals[i - 1].domain);
            buf_printf(&comment, " as[%zu].s=", i);
            add_printable(&comment, seals[i - 1].selector);
        }
        if (remote_ip.n) {
            buf_printf(&comment, " remote-ip[%zu]=", k);
            add_printable(&comment, remote_ip);
        }
        const char *text = arena_copy(arena, buf_slice(&comment));
        buf_free(&comment);
        return text;
    }
    return NULL;
}
