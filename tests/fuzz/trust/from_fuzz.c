/* The author domains of a foreign header block, and the settings of a site (which are the
 * operator's, but parse all the same). Every author found is a domain name in its one form, and no
 * "@domain" that a reader could take for the author is passed over. */
#include <stdlib.h>

#include "libcommon/mail/domain.h"
#include "libcommon/trust/verdict/trust_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice all = slice_make(data, size);
    struct trust_authors authors;
    struct arena *arena = arena_create();
    const char *wrong;
    if (size > 70000) return arena_destroy(arena), 0;
    trust_find_authors(arena, all, &authors);
    for (size_t i = 0; i < authors.count; i++) {
        char text[DOMAIN_BYTES];
        if (domain_normalise(authors.domains[i], text) != 0 || !slice_is(authors.domains[i], text)) abort();
        for (size_t k = 0; k < i; k++)
            if (slice_equal(authors.domains[i], authors.domains[k])) abort();
    }
    if (authors.count && !authors.fields) abort();
    char *setting = arena_copy(arena, all);
    struct trust_settings s = {.sealers = setting, .overrides = setting};
    const struct trust_policy *p = trust_policy_parse(arena, &s, &wrong);
    if ((p == NULL) != (wrong != NULL)) abort();
    s.sealers = "";
    p = trust_policy_parse(arena, &s, &wrong);
    for (size_t i = 0; p && i < p->override_count; i++) {
        trust_override_fits_client(&p->overrides[i], all);
        trust_override_fits_domain(p->overrides[i].from, all);
    }
    arena_destroy(arena);
    return 0;
}
