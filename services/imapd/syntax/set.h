/* Sequence sets (RFC 9051 §9, sequence-set): "1:5,9,12:*". */
#ifndef POSTBUS_IMAPD_SET_H
#define POSTBUS_IMAPD_SET_H

#include "libcommon/base/buf.h"
#include "services/imapd/syntax/parse.h"

/* Ranges with first <= last, in ascending order, not adjacent; "*" is UINT32_MAX until
 * set_resolve. */
struct range {
    uint32_t first, last;
};
struct set {
    struct range *ranges;
    size_t count;
    bool saved; /* "$": the result of the last SEARCH RETURN (SAVE) (RFC 9051 §6.4.4.1) */
};

/* Reads a set. Its ranges are in the parser's arena. */
bool parse_set(struct parser *p, struct set *set);
/* Replaces "*" with `largest` (the last message or uid, 0 in an empty folder), sorts and joins the
 * ranges. */
void set_resolve(struct set *set, uint32_t largest);
/* After set_resolve. */
bool set_has(const struct set *set, uint32_t number);
/* Sorts numbers in ascending order. */
void numbers_sort(size_t count, uint32_t numbers[]);
/* Writes ascending numbers as a set: "1:3,7". */
void set_write(struct buf *out, size_t count, const uint32_t numbers[]);

#endif
