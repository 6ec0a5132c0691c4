/* DMARC records, MTA-STS records and policies, tag lists, header blocks. */
#include "libcommon/mail/header.h"
#include "libcommon/trust/dmarc/dmarc.h"
#include "libcommon/trust/tags.h"
#include "libcommon/trust/transport/mta_sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice text = slice_make(data, size), id;
    struct arena *arena = arena_create();
    struct dmarc_record record;
    struct mta_sts_policy policy;
    struct header_field f;
    struct buf out = {0};
    size_t at = 0, body;
    tags_are_valid(text);
    dmarc_record_parse(text, &record);
    dmarc_organizational_domain(text);
    mta_sts_record_parse(text, &id);
    if (mta_sts_policy_parse(arena, text, &policy) == 0) mta_sts_allows(&policy, SLICE("mx.example.com"));
    struct slice header = header_block(text, &body);
    while (header_next(header, &at, &f) == 1) header_unfold(f.value, &out);
    buf_free(&out);
    arena_destroy(arena);
    return 0;
}
