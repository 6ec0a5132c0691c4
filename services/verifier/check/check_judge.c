#include "services/verifier/check/check_judge.h"

#include "libcommon/trust/tags.h"
#include "libcommon/trust/transport/mta_sts.h"

const char *check_state_text(enum check_state s) {
    static const char *const texts[] = {"right", "missing", "wrong", "conflicting", "unknown"};
    return texts[s];
}

bool check_is_fault(const struct check_finding *f) {
    return f->state == CHECK_WRONG || f->state == CHECK_CONFLICTING || (f->state == CHECK_MISSING && f->needed);
}

static bool contains(struct check_texts list, const char *text) {
    for (size_t i = 0; i < list.n; i++)
        if (strcmp(list.text[i], text) == 0) return true;
    return false;
}

/* How many of a are in b. */
static size_t common(struct check_texts a, struct check_texts b) {
    size_t n = 0;
    for (size_t i = 0; i < a.n; i++) n += contains(b, a.text[i]);
    return n;
}

static const char *join(struct arena *arena, struct check_texts list) {
    const char *text = "";
    for (size_t i = 0; i < list.n; i++) text = arena_printf(arena, "%s%s%s", text, i ? ", " : "", list.text[i]);
    return text;
}

static struct check_texts texts_of(struct arena *arena, int type, const struct answer *a) {
    struct check_texts list = {0, arena_alloc(arena, (a->count + 1) * sizeof *list.text)};
    if (a->status == ANSWER_OK)
        for (size_t i = 0; i < a->count; i++) list.text[list.n++] = check_text_of(arena, type, &a->records[i]);
    return list;
}

/* those that begin with the same "v=…" as text */
static struct check_texts of_kind(struct arena *arena, struct check_texts list, const char *text) {
    struct check_texts same = {0, arena_alloc(arena, (list.n + 1) * sizeof *same.text)};
    size_t n = strcspn(text, " ;");
    for (size_t i = 0; i < list.n; i++)
        if (strncasecmp(list.text[i], text, n) == 0 && (list.text[i][n] == '\0' || strchr(" ;", list.text[i][n])))
            same.text[same.n++] = list.text[i];
    return same;
}

/* Whether each tag of a is in b, with the same value. */
static bool tags_within(struct slice a, struct slice b) {
    struct tag tag;
    int got;
    while ((got = tag_next(&a, &tag)) == 1) {
        struct tag other;
        struct slice rest = b;
        bool same = false;
        while (!same && tag_next(&rest, &other) == 1)
            same = slice_equal_nocase(tag.name, other.name) && slice_equal(tag.value, other.value);
        if (!same) return false;
    }
    return got == 0;
}

static bool same_tags(const char *a, const char *b) {
    return tags_within(slice_of(a), slice_of(b)) && tags_within(slice_of(b), slice_of(a));
}

static void set(struct check_finding *f, enum check_state state, const char *say) {
    f->state = state;
    f->say = say;
}

/* TXT */

static void judge_spf(struct check_finding *f, const struct check_context *c) {
    if (f->found.n > 1)
        set(f, CHECK_CONFLICTING,
            "there are several SPF records, which is an error (RFC 7208 §4.5): remove all but this "
            "one");
    else if (strcasecmp(f->found.text[0], f->wanted.text[0]) == 0)
        set(f, CHECK_RIGHT, "");
    else if (c->spf_covers == 1)
        set(f, CHECK_RIGHT, "it has another text, but permits all addresses of outgoing connections");
    else if (c->spf_covers == 0)
        set(f, CHECK_WRONG,
            "it does not permit all addresses of outgoing connections: receivers may refuse mail; publish this "
            "instead, "
            "or add the addresses");
    else if (c->spf_covers == -2)
        set(f, CHECK_UNKNOWN, "the record differs, and DNS did not answer for what it refers to");
    else
        set(f, CHECK_WRONG, "the record differs: publish this instead");
}

static void judge_dkim(struct check_finding *f) {
    struct slice ours = tag_find(slice_of(f->wanted.text[0]), "p"), theirs = tag_find(slice_of(f->found.text[0]), "p");
    struct slice kind = tag_find(slice_of(f->found.text[0]), "k"),
                 own_kind = tag_find(slice_of(f->wanted.text[0]), "k");
    if (f->found.n > 1)
        set(f, CHECK_CONFLICTING,
            "there are several records at this selector, and a receiver takes any of them (RFC 6376 §3.6.2.2): remove "
            "all but this one");
    else if (!theirs.p)
        set(f, CHECK_CONFLICTING, "the record at this selector is not a DKIM key: replace it");
    else if (!theirs.n)
        set(f, CHECK_WRONG,
            "the key is revoked (empty p=, RFC 6376 §3.6.1): signatures with it fail; publish this instead");
    else if (!slice_equal(ours, theirs))
        set(f, CHECK_CONFLICTING, "another key is at our selector: signatures of this site fail; replace it");
    else if ((kind.p ? !slice_equal_nocase(kind, own_kind)
                     : !slice_is(own_kind, "rsa"))) /* §3.6.1: k= is rsa by default */
        set(f, CHECK_WRONG, "the key has another type (k=): publish this instead");
    else
        set(f, CHECK_RIGHT, "");
}

static void judge_tags(struct arena *arena, struct check_finding *f) {
    struct slice id;
    if (f->found.n > 1)
        set(f, CHECK_CONFLICTING, "there are several such records, so all are ignored: remove all but this one");
    else if (same_tags(f->found.text[0], f->wanted.text[0]))
        set(f, CHECK_RIGHT, "");
    else if (strncasecmp(f->wanted.text[0], "v=STSv1", 7) == 0 &&
             mta_sts_record_parse(slice_of(f->found.text[0]), &id) == 0)
        set(f, CHECK_RIGHT, "the id differs, which is allowed as long as it changes with the policy");
    else if (strstr(f->name, "._report._dmarc."))
        set(f, CHECK_RIGHT, "");
    else
        set(f, CHECK_WRONG,
            arena_printf(arena, "it differs from the setting: publish this instead%s",
                         strncasecmp(f->wanted.text[0], "v=DMARC1", 8) == 0
                             ? ", or change the setting (postbus domain set)"
                             : ""));
}

static void judge_txt(struct arena *arena, struct check_finding *f, const struct check_context *c) {
    bool dkim = strstr(f->name, "._domainkey.") != NULL;
    struct check_texts all = f->found;
    if (!dkim) f->found = of_kind(arena, all, f->wanted.text[0]); /* an apex has TXT records of many kinds */
    if (!f->found.n)
        set(f, CHECK_MISSING, "publish this");
    else if (dkim)
        judge_dkim(f);
    else if (strncasecmp(f->wanted.text[0], "v=spf1", 6) == 0)
        judge_spf(f, c);
    else
        judge_tags(arena, f);
}

/* others */

static void judge_mx(struct arena *arena, struct check_finding *f, const struct check_context *c) {
    const char *host = arena_printf(arena, "%s.", c->mail_host), *others = "";
    bool ours = false;
    for (size_t i = 0; i < f->found.n; i++) {
        const char *space = strchr(f->found.text[i], ' '), *name = space ? space + 1 : "";
        if (strcasecmp(name, host) == 0)
            ours = true;
        else
            others = arena_printf(arena, "%s%s%s", others, *others ? ", " : "", name);
    }
    if (ours && !*others)
        set(f, CHECK_RIGHT, "");
    else if (ours)
        set(f, CHECK_CONFLICTING,
            arena_printf(arena,
                         "mail is also sent to %s: remove that record, unless that host forwards all mail to this site",
                         others));
    else if (strcmp(others, ".") == 0)
        set(f, CHECK_WRONG, "a null MX (RFC 7505) says that the domain does not accept mail: publish this instead");
    else
        set(f, CHECK_WRONG,
            arena_printf(arena, "mail is sent to %s instead of this site: publish this instead", others));
}

static void judge_addresses(struct arena *arena, struct check_finding *f) {
    size_t same = common(f->found, f->wanted);
    if (same == f->wanted.n && same == f->found.n)
        set(f, CHECK_RIGHT, "");
    else if (same == f->wanted.n)
        set(f, CHECK_CONFLICTING,
            "the name has other addresses too, where this site does not answer: remove them, or add them to the "
            "setting POSTBUS_PUBLIC_ADDRESSES");
    else
        set(f, CHECK_WRONG, arena_printf(arena, "the name leads to %s: publish this instead", join(arena, f->found)));
}

/* Addresses of the mail host are as good as an alias to it: some providers publish the addresses
 * themselves. */
static void judge_alias(struct arena *arena, struct check_finding *f, const struct check_context *c) {
    size_t addresses = 0, same = 0;
    if (f->found.n && contains(f->wanted, f->found.text[0])) {
        set(f, CHECK_RIGHT, "");
        return;
    }
    for (int k = 0; k < 2; k++) {
        if (!c->addresses[k] || !c->host_addresses[k]) continue;
        int type = k ? TYPE_AAAA : TYPE_A;
        struct check_texts there = texts_of(arena, type, c->addresses[k]);
        addresses += there.n;
        same += common(there, texts_of(arena, type, c->host_addresses[k]));
    }
    if (addresses && same == addresses)
        set(f, CHECK_RIGHT, "it has the mail host's addresses");
    else if (addresses || f->found.n)
        set(f, CHECK_WRONG,
            arena_printf(arena, "the name leads to another host%s%s: publish this instead", f->found.n ? ", to " : "",
                         f->found.n ? f->found.text[0] : ""));
    else
        set(f, CHECK_MISSING, "publish this");
}

static void judge_tlsa(struct check_finding *f, const struct answer *a) {
    bool secure = a->security == ANSWER_SECURE;
    if (!contains(f->found, f->wanted.text[0]))
        set(f, CHECK_WRONG,
            "no record is for the key in use: servers that check DANE do not deliver mail to this site (RFC 7672 "
            "§2.2); "
            "publish these instead");
    else if (common(f->wanted, f->found) < f->wanted.n)
        set(f, CHECK_WRONG,
            "the next key's record is missing: publish it, and change the key no sooner than its TTL after that (RFC "
            "7671 §8.4)");
    else
        set(f, CHECK_RIGHT, secure ? "" : "the zone is not signed with DNSSEC, so the record has no effect");
}

static void judge_set(struct arena *arena, struct check_finding *f) {
    size_t same = common(f->wanted, f->found);
    if (same == f->wanted.n && same == f->found.n)
        set(f, CHECK_RIGHT, "");
    else if (same == f->wanted.n)
        set(f, CHECK_CONFLICTING, "there are further records: remove them if they are not intended");
    else
        set(f, CHECK_WRONG, arena_printf(arena, "found %s: publish this instead", join(arena, f->found)));
}

struct check_finding check_rrset(struct arena *arena, size_t n, const struct dns_record *const wanted[],
                                 const struct answer *answer, const struct check_context *context) {
    struct check_finding f = {
        .name = wanted[0]->name, .type = wanted[0]->type, .purpose = wanted[0]->purpose, .say = ""};
    int type = check_type(f.type);
    f.wanted.text = arena_alloc(arena, n * sizeof *f.wanted.text);
    for (size_t i = 0; i < n; i++) {
        f.needed = f.needed || wanted[i]->needed;
        f.wanted.text[f.wanted.n++] = check_text_wanted(arena, wanted[i]);
    }
    f.found = texts_of(arena, type, answer);
    bool aliased = answer->canonical.n && !slice_equal_nocase(answer->canonical, slice_of(f.name));
    if (answer->status == ANSWER_FAILED && answer->security == ANSWER_BOGUS) {
        set(&f, CHECK_WRONG,
            arena_printf(arena, "DNSSEC validation fails, so the record cannot be used: %.*s",
                         SLICE_FMT(answer->reason)));
    } else if (answer->status == ANSWER_FAILED) {
        set(&f, CHECK_UNKNOWN, arena_printf(arena, "DNS did not answer: %.*s", SLICE_FMT(answer->reason)));
    } else if (aliased && type != TYPE_CNAME && strcasecmp(f.name, context->domain) == 0) {
        set(&f, CHECK_CONFLICTING,
            arena_printf(arena,
                         "the domain is an alias (CNAME) to %.*s, beside which no other record can be (RFC 1034 "
                         "§3.6.2): remove it",
                         SLICE_FMT(answer->canonical)));
    } else if (type == TYPE_CNAME) {
        judge_alias(arena, &f, context);
    } else if (!f.found.n) {
        set(&f, CHECK_MISSING, "publish this");
    } else if (type == TYPE_TXT) {
        judge_txt(arena, &f, context);
    } else if (type == TYPE_MX) {
        judge_mx(arena, &f, context);
    } else if (type == TYPE_A || type == TYPE_AAAA) {
        judge_addresses(arena, &f);
    } else if (type == TYPE_TLSA) {
        judge_tlsa(&f, answer);
    } else {
        judge_set(arena, &f);
    }
    return f;
}
