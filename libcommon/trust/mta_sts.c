#include "libcommon/trust/mta_sts.h"

#include "libcommon/trust/tags.h"

enum { MAX_AGE_MAX = 31557600, ID_MAX = 32 };

int mta_sts_record_parse(struct slice txt, struct slice *id) {
    struct slice rest = txt;
    struct tag tag;
    bool first = true;
    *id = SLICE("");
    while (tag_next(&rest, &tag) == 1) {
        if (first && !(slice_is(tag.name, "v") && slice_is(tag.value, "STSv1"))) return -1;
        if (!first && !id->n && slice_is(tag.name, "id")) *id = tag.value;
        first = false;
    }
    if (!id->n || id->n > ID_MAX) return -1;
    for (size_t i = 0; i < id->n; i++) {
        char c = id->p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))) return -1;
    }
    return 0;
}

static bool is_host_pattern(struct slice s) {
    if (slice_starts(s, SLICE("*."))) s = slice_skip(s, 2);
    if (!s.n || s.n > 253 || s.p[0] == '.' || s.p[s.n - 1] == '.') return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || (c == '.' && s.p[i - 1] != '.'))) return false;
    }
    return true;
}

int mta_sts_policy_parse(struct arena *arena, struct slice text, struct mta_sts_policy *out) {
    struct slice line, name, *mx = arena_alloc(arena, MTA_STS_MX_MAX * sizeof *mx);
    bool version = false, mode = false, age = false;
    *out = (struct mta_sts_policy){.mx = mx};
    if (text.n > MTA_STS_POLICY_BYTES_MAX) return -1;
    for (bool more = text.n > 0; more;) {
        more = slice_cut(&text, '\n', &line);
        if (!more) line = text;
        line = slice_trim(line); /* CRLF, or LF as §3.2 allows */
        if (!line.n) continue;
        if (!slice_cut(&line, ':', &name)) return -1;
        struct slice value = slice_trim(line);
        uint64_t seconds;
        name = slice_trim(name);
        if (slice_is(name, "version")) {
            if (version || !slice_is(value, "STSv1")) return -1;
            version = true;
        } else if (slice_is(name, "mode") && !mode) { /* §3.2: of several, the first counts */
            if (slice_is(value, "enforce"))
                out->mode = MTA_STS_ENFORCE;
            else if (slice_is(value, "testing"))
                out->mode = MTA_STS_TESTING;
            else if (!slice_is(value, "none"))
                return -1;
            mode = true;
        } else if (slice_is(name, "max_age") && !age) {
            if (slice_to_u64(value, UINT32_MAX, &seconds) != 0) return -1;
            out->max_age = seconds > MAX_AGE_MAX ? MAX_AGE_MAX : (uint32_t)seconds;
            age = true;
        } else if (slice_is(name, "mx")) {
            char *lower = arena_copy(arena, value);
            for (char *c = lower; *c; c++)
                if (*c >= 'A' && *c <= 'Z') *c = (char)(*c | 0x20);
            if (out->mx_count == MTA_STS_MX_MAX || !is_host_pattern(slice_of(lower))) return -1;
            mx[out->mx_count++] = slice_of(lower);
        } /* other names are extensions (§3.2) */
    }
    return version && mode && age && (out->mx_count || out->mode == MTA_STS_NONE) ? 0 : -1;
}

bool mta_sts_allows(const struct mta_sts_policy *policy, struct slice host) {
    for (size_t i = 0; i < policy->mx_count; i++) {
        struct slice mx = policy->mx[i];
        if (slice_equal_nocase(mx, host)) return true;
        ptrdiff_t dot = slice_find(host, '.');
        if (slice_starts(mx, SLICE("*.")) && dot > 0 && slice_equal_nocase(slice_skip(mx, 1), slice_skip(host, (size_t)dot))) return true;
    }
    return false;
}
