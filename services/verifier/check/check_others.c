/* Checks of others on whom a domain's mail depends: the delegation by its parent, the reverse DNS
 * of its addresses, the policy's host. */
#include <stdio.h>
#include <strings.h>

#include "libcommon/trust/transport/mta_sts.h"
#include "services/verifier/check/check_judge.h"
#include "services/verifier/dns/address.h"
#include "services/verifier/zone/record_list.h"

static bool contains(struct check_texts list, const char *text) {
    for (size_t i = 0; i < list.n; i++)
        if (strcasecmp(list.text[i], text) == 0) return true;
    return false;
}

static void add(struct check_texts *list, const char *text) { list->text[list->n++] = text; }

static struct check_texts found_in(struct arena *arena, int type, const struct answer *a) {
    struct check_texts list = {0, arena_alloc(arena, (a->count + 1) * sizeof *list.text)};
    if (a->status == ANSWER_OK)
        for (size_t i = 0; i < a->count; i++) add(&list, check_text_of(arena, type, &a->records[i]));
    return list;
}

static bool take_failure(struct arena *arena, struct check_finding *f, const struct answer *a) {
    if (a->status != ANSWER_FAILED) return false;
    bool bogus = a->security == ANSWER_BOGUS;
    f->state = bogus ? CHECK_WRONG : CHECK_UNKNOWN;
    f->say =
        arena_printf(arena, "%s: %.*s", bogus ? "DNSSEC validation fails" : "DNS did not answer", SLICE_FMT(a->reason));
    return true;
}

struct check_finding check_ns(struct arena *arena, const char *domain, const char *names, const struct answer *answer) {
    struct check_finding f = {.name = domain,
                              .type = "NS",
                              .purpose = "the domain's name servers",
                              .needed = true,
                              .say = "",
                              .state = CHECK_RIGHT};
    struct slice left = slice_of(names);
    const char *one;
    f.wanted.text = arena_alloc(arena, (left.n / 2 + 2) * sizeof *f.wanted.text);
    while ((one = record_next(arena, &left))) {
        size_t n = strlen(one);
        add(&f.wanted, n && one[n - 1] == '.' ? one : arena_printf(arena, "%s.", one));
    }
    f.found = found_in(arena, TYPE_NS, answer);
    if (take_failure(arena, &f, answer)) return f;
    if (!f.found.n) {
        f.state = CHECK_MISSING;
        f.say = "the domain is not delegated: at your registrar, make these its name servers (with glue "
                "where they are inside the domain)";
        return f;
    }
    for (size_t i = 0; i < f.wanted.n && f.state == CHECK_RIGHT; i++)
        if (!contains(f.found, f.wanted.text[i])) f.state = CHECK_WRONG;
    if (f.state == CHECK_WRONG)
        f.say = "the domain is delegated to other name servers, so the records of this site are not visible: at your "
                "registrar, make these its name servers, or set "
                "POSTBUS_DNS_SERVER to where the domain's zone is";
    return f;
}

struct check_finding check_ds(struct arena *arena, const char *domain, struct check_texts ds,
                              const struct answer *answer, const struct answer *soa) {
    struct check_finding f = {.name = domain,
                              .type = "DS",
                              .purpose = "DNSSEC: the DS records in the parent zone",
                              .say = "",
                              .wanted = ds,
                              .state = CHECK_RIGHT};
    f.found = found_in(arena, TYPE_DS, answer);
    if (soa->status == ANSWER_FAILED && soa->security == ANSWER_BOGUS) {
        f.state = CHECK_WRONG;
        f.say = arena_printf(arena,
                             "DNSSEC validation fails, so validating resolvers do not answer for this domain: %.*s. %s",
                             SLICE_FMT(soa->reason),
                             ds.n ? "At your registrar, replace the DS records by these"
                                  : "Remove the DS records at your registrar, or sign the zone");
        return f;
    }
    if (take_failure(arena, &f, answer)) return f;
    size_t same = 0;
    for (size_t i = 0; i < ds.n; i++) same += contains(f.found, ds.text[i]);
    if (ds.n && !f.found.n) {
        f.state = CHECK_MISSING;
        f.say = "the zone is signed, but the parent has no DS records: enter these at your registrar; until then "
                "DNSSEC and DANE have no effect";
    } else if (ds.n && same == 0) {
        f.state = CHECK_WRONG;
        f.say = "the parent's DS records are of other keys: at your registrar, replace them by these";
    } else if (soa->security == ANSWER_SECURE) {
        f.say = "";
    } else {
        f.say = f.found.n ? "there are DS records, but the resolver does not validate this part of the tree"
                          : "the zone is not signed: DANE cannot be used";
    }
    return f;
}

struct check_finding check_ptr(struct arena *arena, const char *address, const char *name,
                               const struct answer *answer) {
    char reverse[80] = "";
    domain_reverse_name(slice_of(address), reverse);
    struct check_finding f = {
        .name = arena_copy(arena, slice_of(reverse)), .type = "PTR", .needed = true, .say = "", .state = CHECK_RIGHT};
    f.purpose = arena_printf(arena, "the reverse name of %s, an address of outgoing connections", address);
    f.wanted.text = arena_alloc(arena, sizeof *f.wanted.text);
    add(&f.wanted, arena_printf(arena, "%s.", name));
    f.found = found_in(arena, TYPE_PTR, answer);
    if (take_failure(arena, &f, answer)) return f;
    if (!f.found.n) {
        f.state = CHECK_MISSING;
        f.say =
            "the address has no name, and many servers refuse mail from such addresses: ask its provider to set this";
    } else if (!contains(f.found, f.wanted.text[0])) {
        f.state = CHECK_WRONG;
        f.say = "the address has another name than the one in EHLO: ask its provider to set this";
    }
    return f;
}

static const char *mode_text(enum mta_sts_mode mode) {
    return mode == MTA_STS_ENFORCE ? "enforce" : mode == MTA_STS_TESTING ? "testing" : "none";
}

struct check_finding check_policy(struct arena *arena, const char *domain, const char *mode, const char *mail_host,
                                  int status, const char *content_type, struct slice body, const char *reason) {
    struct check_finding f = {
        .type = "HTTPS", .purpose = "MTA-STS: the policy that other servers fetch", .say = "", .state = CHECK_WRONG};
    struct mta_sts_policy policy;
    f.name = arena_printf(arena, "https://mta-sts.%s/.well-known/mta-sts.txt", domain);
    f.wanted.text = arena_alloc(arena, 2 * sizeof *f.wanted.text);
    f.found.text = f.wanted.text + 1;
    add(&f.wanted, arena_printf(arena, "mode: %s, mx: %s", mode, mail_host));
    if (status == 0) {
        f.say = arena_printf(arena,
                             "the policy cannot be fetched: %s; the host must answer HTTPS with a publicly trusted "
                             "certificate for mta-sts.%s (RFC 8461 §3.3)",
                             reason, domain);
    } else if (status != 200) {
        f.say = arena_printf(
            arena, "the policy's host answers with HTTP status %d instead of 200; redirections are not followed",
            status);
    } else if (!slice_starts_nocase(slice_of(content_type), SLICE("text/plain"))) {
        f.say = "the policy is not sent as text/plain (RFC 8461 §3.2)";
    } else if (mta_sts_policy_parse(arena, body, &policy)) {
        f.say = "the policy is malformed";
    } else {
        const char *first = policy.mx_count ? arena_copy(arena, policy.mx[0]) : "none";
        add(&f.found,
            arena_printf(arena, "mode: %s, mx: %s%s", mode_text(policy.mode), first, policy.mx_count > 1 ? ", …" : ""));
        if (policy.mode != MTA_STS_NONE && !mta_sts_allows(&policy, slice_of(mail_host)))
            f.say = "the policy does not name this site's mail host: servers that follow it do not deliver mail here";
        else if (strcmp(mode_text(policy.mode), mode) != 0)
            f.say = "the mode of the policy differs from the setting";
        else
            f.state = CHECK_RIGHT;
    }
    return f;
}
