/* The author domains of a message (RFC 9989 §5.3.1): every domain in every From field, so that none
 * can be hidden by another (§11.5). */
#include "libcommon/mail/address.h"
#include "libcommon/mail/domain.h"
#include "libcommon/mail/header.h"
#include "libcommon/trust/verdict/trust_private.h"

enum { FROM_BYTES_MAX = 32768, ADDRESSES_MAX = 1000 };

/* Adds a domain unless it is there. */
static void add_author(struct arena *arena, struct trust_authors *out, const char *domain) {
    for (size_t i = 0; i < out->count; i++)
        if (slice_is(out->domains[i], domain)) return;
    if (out->count == TRUST_AUTHORS_MAX)
        out->too_many = true;
    else
        out->domains[out->count++] = slice_of(arena_copy(arena, slice_of(domain)));
}

void trust_find_authors(struct arena *arena, struct slice header, struct trust_authors *out) {
    struct header_field f;
    size_t at = 0;
    *out = (struct trust_authors){0};
    while (header_next(header, &at, &f) == 1) {
        struct address *list;
        if (!slice_is_nocase(f.name, "From")) continue;
        if (++out->fields > TRUST_AUTHORS_MAX || f.value.n > FROM_BYTES_MAX) {
            out->too_many = true;
            return;
        }
        size_t n = address_parse(arena, f.value, ADDRESSES_MAX, &list);
        if (n + 2 >= ADDRESSES_MAX)
            out->too_many = true; /* the list may continue after the part
                                     that was read */
        for (size_t i = 0; i < n; i++) {
            char domain[DOMAIN_BYTES];
            if (list[i].kind != ADDRESS_MAILBOX || !list[i].domain.n) continue;
            if (domain_normalise(list[i].domain, domain) == 0) /* U-labels become A-labels (RFC 9989 §5.3.1) */
                add_author(arena, out, domain);
            else
                out->malformed = true; /* also for an address literal, which has no domain */
        }
    }
}
