#include <stdlib.h>

#include "libcommon/mail/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena *arena = arena_create();
    struct address *list;
    size_t count = address_parse(arena, slice_make(data, size), 200, &list), total = 0;
    int open = 0;
    if (count > 200) abort();
    for (size_t i = 0; i < count; i++) {
        total += list[i].name.n + list[i].local.n + list[i].domain.n;
        open += (list[i].kind == ADDRESS_GROUP_BEGIN) - (list[i].kind == ADDRESS_GROUP_END);
        if (open < 0 || open > 1) abort();
    }
    if (open || total > 2 * size) abort();
    arena_destroy(arena);
    return 0;
}
