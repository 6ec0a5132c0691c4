#include "services/verifier/zone/record_list.h"

#include <arpa/inet.h>

void record_add(struct record_list *l, const char *name, const char *type, const char *value, enum record_need need,
                const char *purpose) {
    if (l->n == RECORDS_MAX) return;
    l->records[l->n++] = (struct dns_record){.name = name,
                                             .type = type,
                                             .value = value,
                                             .ttl = RECORDS_TTL,
                                             .purpose = purpose,
                                             .needed = need == RECORD_NEEDED};
}

const char *record_txt(struct arena *arena, const char *text) {
    struct buf out = {0};
    size_t n = strlen(text);
    for (size_t at = 0; at == 0 || at < n; at++) {
        if (at % 255 == 0) buf_add_str(&out, at ? "\" \"" : "\"");
        if (at == n) break;
        if (text[at] == '"' || text[at] == '\\') buf_add_char(&out, '\\');
        buf_add_char(&out, text[at]);
    }
    buf_add_char(&out, '"');
    char *copy = arena_copy(arena, buf_slice(&out));
    buf_free(&out);
    return copy;
}

bool record_is_inside(const char *name, const char *domain) {
    size_t n = strlen(name), d = strlen(domain);
    return n >= d && strcasecmp(name + n - d, domain) == 0 && (n == d || name[n - d - 1] == '.');
}

const char *record_next(struct arena *arena, struct slice *list) {
    struct slice one;
    while (list->n) {
        if (!slice_cut(list, ',', &one)) one = *list, list->n = 0;
        one = slice_trim(one);
        if (one.n) return arena_copy(arena, one);
    }
    return NULL;
}

int record_family(const char *address) {
    unsigned char bytes[16];
    return inet_pton(AF_INET, address, bytes) == 1 ? 4 : inet_pton(AF_INET6, address, bytes) == 1 ? 6 : 0;
}
