#include "libcommon/trust/tags.h"

enum { TAGS_MAX = 64 };

static bool name_is_valid(struct slice name) {
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '_'))) return false;
    }
    return name.n > 0;
}

int tag_next(struct slice *rest, struct tag *tag) {
    struct slice part;
    *rest = slice_trim(*rest);
    if (!rest->n) return 0;
    if (!slice_cut(rest, ';', &part)) {
        part = *rest;
        *rest = slice_skip(*rest, rest->n);
    }
    if (!slice_cut(&part, '=', &tag->name)) return -1;
    tag->name = slice_trim(tag->name);
    tag->value = slice_trim(part);
    return name_is_valid(tag->name) ? 1 : -1;
}

struct slice tag_find(struct slice list, const char *name) {
    struct tag tag;
    while (tag_next(&list, &tag) == 1)
        if (slice_is(tag.name, name)) return tag.value;
    return (struct slice){NULL, 0};
}

bool tags_are_valid(struct slice list) {
    struct slice seen[TAGS_MAX];
    struct tag tag;
    size_t count = 0;
    int got;
    while ((got = tag_next(&list, &tag)) == 1) {
        if (count == TAGS_MAX) return false;
        for (size_t i = 0; i < count; i++)
            if (slice_equal(seen[i], tag.name)) return false;
        seen[count++] = tag.name;
    }
    return got == 0 && count > 0;
}
