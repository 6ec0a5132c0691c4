#include "libcommon/trust/transport/mta_sts.h"

#include "libcommon/trust/transport/policy_record.h"

enum { ID_MAX = 32, FIELD_NAME_MAX = 32, MAX_AGE_DIGITS_MAX = 10, HOST_MAX = 253 };

static const struct slice VERSION = {"v=STSv1", 7};

static bool is_alphanumeric(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool mta_sts_record_is(struct slice txt) {
    struct slice rest;
    return policy_record_is(txt, VERSION, &rest);
}

int mta_sts_record_parse(struct slice txt, struct slice *id) {
    struct slice rest;
    struct policy_field field;
    int got;
    *id = SLICE("");
    if (!policy_record_is(txt, VERSION, &rest)) return -1;
    while ((got = policy_record_next(&rest, false, &field)) == 1)
        if (!id->n && slice_is(field.name, "id")) *id = field.value;
    if (got != 0 || !id->n || id->n > ID_MAX) return -1;
    for (size_t i = 0; i < id->n; i++)
        if (!is_alphanumeric(id->p[i])) return -1;
    return 0;
}

/* [ "*." ] Domain, in lower case. */
static bool is_host_pattern(struct slice s) {
    size_t label = 0;
    if (slice_starts(s, SLICE("*."))) s = slice_skip(s, 2);
    if (!s.n || s.n > HOST_MAX) return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '.') {
            if (label == 0) return false;
            label = 0;
        } else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_') || ++label > 63) {
            return false;
        }
    }
    return label > 0;
}

/* The name of a field, as the grammar allows for extensions (§3.2, sts-policy-ext-name). */
static bool is_field_name(struct slice s) {
    if (!s.n || s.n > FIELD_NAME_MAX || !is_alphanumeric(s.p[0])) return false;
    for (size_t i = 1; i < s.n; i++)
        if (!is_alphanumeric(s.p[i]) && s.p[i] != '_' && s.p[i] != '-' && s.p[i] != '.') return false;
    return true;
}

static int read_mode(struct slice value, enum mta_sts_mode *mode) {
    for (enum mta_sts_mode m = MTA_STS_NONE; m <= MTA_STS_ENFORCE; m++) {
        if (!slice_is(value, mta_sts_mode_text(m))) continue;
        *mode = m;
        return 0;
    }
    return -1;
}

/* 1*10(DIGIT); a larger number counts as the maximum. */
static int read_max_age(struct slice value, uint32_t *max_age) {
    uint64_t seconds;
    if (value.n > MAX_AGE_DIGITS_MAX || slice_to_u64(value, UINT64_MAX, &seconds) != 0) return -1;
    *max_age = seconds > MTA_STS_MAX_AGE_MAX ? MTA_STS_MAX_AGE_MAX : (uint32_t)seconds;
    return 0;
}

static int add_mx(struct arena *arena, struct mta_sts_policy *out, struct slice *mx, struct slice value) {
    char *lower = arena_copy(arena, value);
    for (size_t i = 0; i < value.n; i++)
        if (lower[i] >= 'A' && lower[i] <= 'Z') lower[i] = (char)(lower[i] | 0x20);
    if (out->mx_count == MTA_STS_MX_MAX || !is_host_pattern(slice_make(lower, value.n))) return -1;
    mx[out->mx_count++] = slice_make(lower, value.n);
    return 0;
}

int mta_sts_policy_parse(struct arena *arena, struct slice text, struct mta_sts_policy *out) {
    struct slice line, name, *mx = arena_alloc(arena, MTA_STS_MX_MAX * sizeof *mx);
    bool version = false, mode = false, age = false;
    *out = (struct mta_sts_policy){.mx = mx};
    if (text.n > MTA_STS_POLICY_BYTES_MAX) return -1;
    for (bool more = text.n > 0; more;) {
        more = slice_cut(&text, '\n', &line);
        if (!more) line = text;
        line = slice_trim(line); /* lines end with CRLF, or LF as §3.2 allows */
        if (!line.n) continue;
        if (!slice_cut(&line, ':', &name) || !is_field_name(name)) return -1;
        struct slice value = slice_trim(line);
        int error = 0;
        /* §3.2: the first of several fields of one name counts, except for mx */
        if (slice_is(name, "version") && !version) {
            error = slice_is(value, "STSv1") ? 0 : -1;
            version = true;
        } else if (slice_is(name, "mode") && !mode) {
            error = read_mode(value, &out->mode);
            mode = true;
        } else if (slice_is(name, "max_age") && !age) {
            error = read_max_age(value, &out->max_age);
            age = true;
        } else if (slice_is(name, "mx")) {
            error = add_mx(arena, out, mx, value);
        } /* other names are extensions and are ignored (§3.2) */
        if (error) return -1;
    }
    return version && mode && age && (out->mx_count || out->mode == MTA_STS_NONE) ? 0 : -1;
}

bool mta_sts_pattern_allows(struct slice pattern, struct slice host) {
    if (slice_equal_nocase(pattern, host)) return true;
    ptrdiff_t dot = slice_find(host, '.');
    return slice_starts(pattern, SLICE("*.")) && dot > 0 &&
           slice_equal_nocase(slice_skip(pattern, 1), slice_skip(host, (size_t)dot));
}

bool mta_sts_allows(const struct mta_sts_policy *policy, struct slice host) {
    for (size_t i = 0; i < policy->mx_count; i++)
        if (mta_sts_pattern_allows(policy->mx[i], host)) return true;
    return false;
}

const char *mta_sts_mode_text(enum mta_sts_mode mode) {
    return mode == MTA_STS_ENFORCE ? "enforce" : mode == MTA_STS_TESTING ? "testing" : "none";
}
