/* accounts.domain.set: a domain's own settings for DNS, which override the site's. Each setting is
 * a separate field of the domain, "dns.<name>", as JSON, so that concurrent changes do not undo
 * each other. */
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "services/accounts/accounts.h"

enum { TEXT_MAX = 500, CAA_MAX = 8, SETTINGS = 7 };
static const char prefix[] = "dns.";

/* Printable ASCII without what has a meaning in a TXT record's tag lists or in a zone file. */
static bool is_plain(const json_t *value) {
    const char *text = json_string_value(value);
    if (!text || json_string_length(value) > TEXT_MAX) return false;
    for (; *text; text++)
        if (*text <= ' ' || *text >= 0x7f || strchr("\"\\;", *text)) return false;
    return true;
}

static bool is_one_of(const json_t *value, const char *const words[]) {
    for (size_t i = 0; words[i]; i++)
        if (json_is_string(value) && strcmp(json_string_value(value), words[i]) == 0) return true;
    return false;
}

/* Comma-separated URIs for reports (RFC 9989 §4.7: rua, ruf); "" for none. */
static bool are_report_uris(const json_t *value) {
    if (!is_plain(value)) return false;
    struct slice left = slice_of(json_string_value(value)), one;
    while (left.n) {
        if (!slice_cut(&left, ',', &one)) one = left, left.n = 0;
        bool mail = slice_starts_nocase(one, SLICE("mailto:")) && slice_find(one, '@') > 7,
             web = slice_starts_nocase(one, SLICE("https://")) && one.n > 8;
        if (!mail && !web) return false;
    }
    return true;
}

static bool is_https(const json_t *value) {
    return is_plain(value) && (!json_string_length(value) || (strncmp(json_string_value(value), "https://", 8) == 0 &&
                                                              !strchr(json_string_value(value), ',')));
}

static bool is_caa(const json_t *value) {
    size_t i;
    const json_t *one;
    if (!json_is_array(value) || json_array_size(value) > CAA_MAX) return false;
    json_array_foreach(value, i, one) if (!is_plain(one) || !json_string_length(one)) return false;
    return true;
}

const char *domain_setting_problem(const char *name, const json_t *value) {
    static const char *const policies[] = {"none", "quarantine", "reject", NULL}, *const modes[] = {"", "none",
                                                                                                    "testing",
                                                                                                    "enforce", NULL};
    if (json_is_null(value)) value = NULL; /* back to the site's setting */
    if (strcmp(name, "dmarc_policy") == 0)
        return !value || is_one_of(value, policies) ? NULL : "dmarc_policy is none, quarantine or reject";
    if (strcmp(name, "mta_sts") == 0)
        return !value || is_one_of(value, modes) ? NULL : "mta_sts is none, testing or enforce, or empty for no policy";
    if (strcmp(name, "dmarc_rua") == 0 || strcmp(name, "dmarc_ruf") == 0)
        return !value || are_report_uris(value) ? NULL
                                                : "dmarc_rua and dmarc_ruf are URIs, comma-separated, as in "
                                                  "mailto:reports@example.org; or empty for no reports";
    if (strcmp(name, "bimi_location") == 0 || strcmp(name, "bimi_authority") == 0)
        return !value || is_https(value) ? NULL : "bimi_location and bimi_authority are https URLs";
    if (strcmp(name, "caa") == 0)
        return !value || is_caa(value) ? NULL
                                       : "caa is a list of at most 8 issuers, as in letsencrypt.org, wild:ca.example, "
                                         "iodef:mailto:security@example.org";
    return "there is no such setting: dmarc_policy, dmarc_rua, dmarc_ruf, mta_sts, bimi_location, bimi_authority, caa";
}

json_t *domain_settings_read(const json_t *fields) {
    json_t *dns = json_object();
    for (void *at = json_object_iter((json_t *)(uintptr_t)fields); at;
         at = json_object_iter_next((json_t *)(uintptr_t)fields, at)) {
        const char *name = json_object_iter_key(at);
        if (strncmp(name, prefix, sizeof prefix - 1) != 0) continue;
        json_t *value = json_loads(json_string_value(json_object_iter_value(at)), JSON_DECODE_ANY, NULL);
        if (value) json_object_set_new(dns, name + sizeof prefix - 1, value);
    }
    return dns;
}

static void on_read(void *ctx, int error, const json_t *fields) {
    struct ask *a = ctx;
    if (error) {
        ask_refuse_store(a, error, "domain");
        return;
    }
    const char *created = json_string_value(json_object_get(fields, "created"));
    ask_answer(a, json_pack("{s:s,s:s,s:o}", "domain", a->address.domain, "created", created ? created : "", "dns",
                            domain_settings_read(fields)));
}

static void on_set(void *ctx, int error) {
    struct ask *a = ctx;
    if (error) {
        ask_refuse_store(a, error, "domain");
        return;
    }
    accounts_tell(a->accounts, a->address.domain, "domain", a->address.domain, "changed");
    account_read_all(a->accounts->worker->redis, a->address.domain, "d", on_read, a);
}

static void on_ask(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    const json_t *dns = json_object_get(a->body, "dns");
    struct arena *arena = arena_create();
    struct account_field fields[SETTINGS];
    size_t n = 0;
    const char *problem = json_is_object(dns) ? NULL : "dns must be an object of settings";
    for (void *at = json_object_iter((json_t *)(uintptr_t)dns); at && !problem;
         at = json_object_iter_next((json_t *)(uintptr_t)dns, at)) {
        const json_t *value = json_object_iter_value(at);
        problem = domain_setting_problem(json_object_iter_key(at), value);
        if (problem) break;
        char *text = json_is_null(value) ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        fields[n].name = arena_printf(arena, "%s%s", prefix, json_object_iter_key(at));
        fields[n++].value = text ? arena_copy(arena, slice_of(text)) : NULL;
        free(text);
    }
    if (problem)
        ask_refuse(a, "invalid", problem);
    else if (ask_take_domain(a, "domain"))
        account_domain_set(a->accounts->worker->redis, a->address.domain, n, fields, on_set, a);
    arena_destroy(arena);
}

void domain_settings_start(struct accounts *s) { bus_serve(s->worker->bus, "domain.set", on_ask, s); }
