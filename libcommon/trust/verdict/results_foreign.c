/* Fields of a received message that claim to be results of this site (RFC 8601 §5, §4.1; RFC 7208
 * §9.1). */
#include "libcommon/mail/domain.h"
#include "libcommon/trust/verdict/results_read.h"
#include "libcommon/trust/verdict/trust_private.h"

enum { DROPS_MAX = 60, RECEIVED_SPF_BYTES_MAX = 4096 };

/* Whether a name is the name of this site: in upper or lower case, as U-labels or A-labels, with or
 * without a final dot. */
static bool is_ours(struct slice name, const char *ours) {
    char text[DOMAIN_BYTES];
    return domain_normalise(name, text) == 0 ? strcmp(text, ours) == 0 : slice_is_nocase(name, ours);
}

/* Whether "receiver=" of Received-SPF (RFC 7208 §9.1) names this site. */
static bool names_us_as_receiver(struct arena *arena, struct slice value, const char *ours) {
    struct slice id;
    for (struct slice rest = slice_head(value, RECEIVED_SPF_BYTES_MAX);
         rest.n;) { /* the text after each "receiver=" is checked; bounded */
        const char *at = memmem(rest.p, rest.n, "=", 1);
        if (!at) return false;
        struct slice key = slice_trim(slice_head(rest, (size_t)(at - rest.p)));
        rest = slice_skip(rest, (size_t)(at - rest.p) + 1);
        if (key.n < 8 || strncasecmp(key.p + key.n - 8, "receiver", 8) != 0) continue;
        struct slice behind = rest;
        results_authserv_id(arena, &behind, &id);
        if (is_ours(id, ours)) return true;
    }
    return false;
}

void results_find_foreign(struct arena *arena, const struct trust_input *in, struct trust_result *out) {
    struct header_field f;
    size_t at = 0;
    char ours[DOMAIN_BYTES];
    struct slice id;
    if (domain_normalise(in->authserv_id, ours) != 0) snprintf(ours, sizeof ours, "%.*s", SLICE_FMT(in->authserv_id));
    out->drops = arena_alloc(arena, DROPS_MAX * sizeof *out->drops);
    while (header_next(in->header, &at, &f) == 1) {
        struct slice value = f.value;
        if (slice_is_nocase(f.name, "Authentication-Results")) {
            results_authserv_id(arena, &value, &id); /* the authserv-id counts even if the rest of
                                                        the field is malformed */
            if (!is_ours(id, ours)) continue;
        } else if (!slice_is_nocase(f.name, "Received-SPF") || !names_us_as_receiver(arena, value, ours)) {
            continue;
        }
        if (out->drop_count == DROPS_MAX) { /* so many such fields are a sign of abuse */
            out->disposition = TRUST_REJECT;
            out->enhanced = "5.7.1";
            out->reason = "the message carries too many forged Authentication-Results fields";
            return;
        }
        out->drops[out->drop_count++] = (struct trust_drop){f.offset, f.raw.n};
    }
}
