#include "services/cli/check/domain_findings.h"

#include "libcommon/base/member.h"

void domain_problem(struct domain_check *c, const char *part, json_t *part_json, enum problem severity,
                    const char *say) {
    const char *word = severity == PROBLEM_ERROR ? "error" : "warning";
    json_array_append_new(c->problems, json_pack("{s:s,s:s,s:s}", "part", part, "verdict", word, "say", say));
    c->errors = c->errors || severity == PROBLEM_ERROR;
    if (!part_json) return;
    bool worse = strcmp(member_text(part_json, "verdict"), "error") != 0;
    if (worse) json_object_set_new(part_json, "verdict", json_string(word));
}

const struct trust_answer *domain_lookup(struct domain_check *c, const char *name, int type) {
    const struct trust_answer *a = c->dns.lookup(c->dns.ctx, slice_of(name), type);
    c->unanswered = c->unanswered || a->status == TRUST_DNS_FAILED;
    return a;
}

const char *domain_text(struct domain_check *c, struct slice bytes) {
    char *text = arena_copy(c->arena, bytes);
    for (size_t i = 0; i < bytes.n; i++)
        if (text[i] < ' ' || text[i] >= 0x7f) text[i] = '?';
    return text;
}

struct slice domain_record(struct domain_check *c, const char *name, const char *version, json_t **found) {
    const struct trust_answer *a = domain_lookup(c, name, TRUST_TXT);
    struct slice first = SLICE(""), wanted = slice_of(version);
    *found = json_array();
    for (size_t i = 0; i < a->count; i++) {
        struct slice text = a->records[i].data, rest = slice_skip(text, wanted.n);
        if (!slice_starts_nocase(text, wanted) || (rest.n && !strchr(" \t;", *rest.p))) continue;
        if (!first.n) first = text;
        json_array_append_new(*found, json_string(domain_text(c, text)));
    }
    return first;
}
