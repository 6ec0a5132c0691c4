/* A DNS answer in wire format that is whatever it is: the first byte chooses the type that was
 * asked for, the name is h.test. */
#include <stdlib.h>

#include "services/verifier/dns/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int types[] = {TYPE_A,  TYPE_NS,  TYPE_CNAME, TYPE_SOA, TYPE_PTR,
                                TYPE_MX, TYPE_TXT, TYPE_AAAA,  TYPE_SRV, TYPE_TLSA};
    if (!size) return 0;
    int type = types[data[0] % (sizeof types / sizeof *types)];
    struct arena *arena = arena_create();
    struct answer a;
    int error = answer_parse(arena, slice_make(data + 1, size - 1), SLICE("H.test."), type, &a);
    if ((error != 0) != (a.status == ANSWER_FAILED) || (a.status == ANSWER_OK) != (a.count > 0) ||
        a.count > ANSWER_RECORDS_MAX || (error && !a.reason.n))
        abort();
    const struct answer *copy = answer_copy(arena, &a);
    for (size_t i = 0; i < a.count; i++) {
        size_t n = a.records[i].data.n;
        if ((type == TYPE_A && n != 4) || (type == TYPE_AAAA && n != 16)) abort();
        if (!slice_equal(copy->records[i].data, a.records[i].data) ||
            copy->records[i].data.p == (n ? a.records[i].data.p : NULL))
            abort();
    }
    if (!error && a.canonical.n >= ANSWER_NAME_MAX) abort();
    arena_destroy(arena);
    return 0;
}
