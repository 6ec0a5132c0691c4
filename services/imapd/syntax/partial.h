/* PARTIAL of SEARCH and FETCH (RFC 9394 §3). */
#ifndef POSTBUS_IMAPD_PARTIAL_H
#define POSTBUS_IMAPD_PARTIAL_H

#include "services/imapd/syntax/parse.h"

/* "1:500", or "-1:-100" counted from the last result. */
struct partial_range {
    uint32_t first, last; /* first <= last */
    bool from_end;
    struct slice text; /* as the client wrote it */
};
bool parse_partial(struct parser *p, struct partial_range *range);
/* The part of n results that a range means: *from is the index of its first one; the number is
 * returned. Pure. */
size_t partial_of(const struct partial_range *range, size_t n, size_t *from);

#endif
