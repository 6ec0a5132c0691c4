#include "services/imapd/syntax/partial.h"

bool parse_partial(struct parser *p, struct partial_range *range) {
    const char *start = p->p;
    uint32_t first, last;
    range->from_end = parse_char(p, '-');
    if (!parse_u32(p, &first) || !first || !parse_char(p, ':') || parse_char(p, '-') != range->from_end ||
        !parse_u32(p, &last) || !last)
        return false;
    range->first = first < last ? first : last;
    range->last = first < last ? last : first;
    range->text = slice_make(start, (size_t)(p->p - start));
    return true;
}

size_t partial_of(const struct partial_range *range, size_t n, size_t *from) {
    size_t last = range->last < n ? range->last : n;
    *from = 0;
    if (range->first > n) return 0;
    *from = range->from_end ? n - last : range->first - 1;
    return last - range->first + 1;
}
