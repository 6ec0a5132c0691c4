/* Finding DMARC records and organizational domains: the DNS tree walk (RFC 9989 §4.10), or the
 * public suffix list (RFC 7489 §3.2). */
#include <libpsl.h>

#include "libcommon/mail/domain.h"
#include "libcommon/trust/dmarc/dmarc.h"

enum { LABELS_KEPT = DMARC_QUERIES_MAX - 1 };

struct slice dmarc_organizational_domain(struct slice name) {
    char text[DOMAIN_BYTES];
    const psl_ctx_t *psl = psl_builtin();
    if (!psl || domain_normalise(name, text) != 0 ||
        strlen(text) != (name.n && name.p[name.n - 1] == '.' ? name.n - 1 : name.n))
        return name;
    const char *registrable = psl_registrable_domain(psl, text);
    return registrable ? slice_skip(name, (size_t)(registrable - text)) : name;
}

static size_t count_labels(struct slice name) {
    size_t n = 1;
    for (size_t i = 0; i < name.n; i++) n += name.p[i] == '.';
    return n;
}

/* The name without its left-most label; empty when it has only one. */
static struct slice parent_of(struct slice name) {
    ptrdiff_t dot = slice_find(name, '.');
    return dot < 0 ? SLICE("") : slice_skip(name, (size_t)dot + 1);
}

/* The names to query (§4.10 steps 3, 4, 7): domain, then its last 7 labels if it has 8 or more,
 * else all but the first; then one label less each time. */
static size_t plan(struct slice domain, struct dmarc_stop stops[DMARC_QUERIES_MAX]) {
    size_t count = 0, labels = count_labels(domain);
    for (struct slice at = domain; at.n && count < DMARC_QUERIES_MAX; count++) {
        stops[count] = (struct dmarc_stop){.domain = at};
        do at = parent_of(at);
        while (--labels > LABELS_KEPT);
    }
    return count;
}

/* §4.10 steps 2 and 6 */
int dmarc_look(struct arena *arena, const struct trust_dns *dns, struct dmarc_stop *stop) {
    const struct trust_answer *a =
        dns->lookup(dns->ctx, slice_of(arena_printf(arena, "_dmarc.%.*s", SLICE_FMT(stop->domain))), TRUST_TXT);
    struct dmarc_record one;
    stop->found = DMARC_FOUND_NOTHING;
    if (!a) return TRUST_PENDING;
    if (a->status == TRUST_DNS_FAILED) {
        stop->found = DMARC_FOUND_NO_ANSWER;
        return TRUST_DONE;
    }
    stop->name_exists = a->status != TRUST_DNS_NXDOMAIN;
    for (size_t i = 0; i < a->count && a->status == TRUST_DNS_OK; i++) {
        if (dmarc_record_parse(a->records[i].data, &one) != 0) continue;
        stop->found = stop->found == DMARC_FOUND_NOTHING ? DMARC_FOUND_RECORD : DMARC_FOUND_SEVERAL;
        stop->text = a->records[i].data;
        stop->record = one;
    }
    return TRUST_DONE;
}

/* The organizational domain (§4.10.2) of the records found, from the longest name to the
 * shortest. */
static void select_organization(struct dmarc_walk *w) {
    struct slice start = w->stops[0].domain;
    w->organization = start;
    for (size_t i = 0; i < w->count; i++) {
        const struct dmarc_stop *s = &w->stops[i];
        if (s->found == DMARC_FOUND_NO_ANSWER) w->no_answer = true;
        if (s->found != DMARC_FOUND_RECORD) continue;
        if (s->record.psd == 'n') { /* rule 1 */
            w->organization = s->domain;
            return;
        }
        if (s->record.psd == 'y' && i > 0) { /* rule 2: one label below */
            w->suffix = (ptrdiff_t)i;
            w->organization = start;
            while (parent_of(w->organization).n > s->domain.n) w->organization = parent_of(w->organization);
            return;
        }
        w->organization = s->domain; /* rule 3, unless a shorter one follows */
    }
}

static int walk_by_list(struct arena *arena, const struct trust_dns *dns, struct slice domain, struct dmarc_walk *out) {
    bool pending = false;
    out->organization = dmarc_organizational_domain(domain);
    out->stops[0] = (struct dmarc_stop){.domain = domain};
    out->stops[1] = (struct dmarc_stop){.domain = out->organization};
    out->count = out->organization.n == domain.n ? 1 : 2;
    for (size_t i = 0; i < out->count; i++) pending |= dmarc_look(arena, dns, &out->stops[i]) == TRUST_PENDING;
    return pending ? TRUST_PENDING : TRUST_DONE;
}

int dmarc_walk(struct arena *arena, const struct trust_dns *dns, struct slice domain, enum dmarc_discovery how,
               struct dmarc_walk *out) {
    bool pending = false;
    *out = (struct dmarc_walk){.suffix = -1};
    if (how == DMARC_PUBLIC_SUFFIXES) return walk_by_list(arena, dns, domain, out);
    size_t count = plan(domain, out->stops);
    for (size_t i = 0; i < count; i++) { /* all unknown names are requested at once; names after a
                                            stop are ignored */
        pending |= dmarc_look(arena, dns, &out->stops[i]) == TRUST_PENDING;
        out->count = i + 1;
        if (!pending && out->stops[i].found == DMARC_FOUND_RECORD && out->stops[i].record.psd != 'u')
            break; /* steps 2 and 6: stop */
    }
    if (pending) return TRUST_PENDING;
    select_organization(out);
    return TRUST_DONE;
}
