/* Authentication-Results: a foreign header block is searched for fields in our name; and what we
 * write, be the envelope and the signatures what they may, reads back as what it was, with nothing
 * added. */
#include <stdlib.h>

#include "libcommon/trust/verdict/results_read.h"
#include "libcommon/trust/verdict/trust_private.h"

/* Every result of the field, or the end of the process. */
static size_t count_results(struct arena *arena, struct slice value) {
    struct slice id;
    struct results_one one;
    size_t count = 0;
    int more;
    if (results_authserv_id(arena, &value, &id) != 0 || !slice_is(id, "mx.here.test")) abort();
    while ((more = results_next(arena, &value, &one)) == 1) count++;
    if (more < 0) abort();
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice all = slice_make(data, size), rest = all, parts[6] = {{0}}, id, value;
    struct arena *arena = arena_create();
    struct results_one one;
    struct buf out = {0};
    struct dkim_verdict dkim = {.result = DKIM_FAIL, .testing = size & 1};
    if (size > 20000) return arena_destroy(arena), 0;
    for (size_t i = 0; i < 6; i++)
        if (!slice_cut(&rest, '\n', &parts[i])) parts[i] = rest;
    struct trust_input in = {.header = all,
                             .mail_from = parts[0],
                             .helo = parts[1],
                             .client_ip = parts[2],
                             .authserv_id = SLICE("mx.here.test"),
                             .smtputf8 = size & 2};
    struct trust_result r = {.client_name = "", .enhanced = "", .reason = "", .helo_checked = size & 4};
    r.spf = (struct spf_verdict){.result = SPF_PERMERROR,
                                 .reason = arena_copy(arena, parts[3]),
                                 .mechanism = arena_copy(arena, parts[4]),
                                 .domain = "",
                                 .scope = "mfrom",
                                 .record_domain = ""};
    r.spf_helo = r.spf;
    r.dmarc = (struct dmarc_verdict){.reason = arena_copy(arena, parts[5]),
                                     .relief = "",
                                     .from_domain = "a.test",
                                     .record_domain = "",
                                     .organizational_domain = ""};
    r.arc = (struct arc_verdict){.result = ARC_FAIL, .reason = arena_copy(arena, parts[3]), .sealer = ""};
    dkim.reason = r.spf.reason;
    dkim.signature = (struct dkim_signature){.d = parts[0], .i = parts[1], .s = parts[2], .a = parts[3], .b = parts[4]};
    r.dkim = &dkim;
    r.dkim_count = 1;
    results_find_foreign(arena, &in, &r);
    for (size_t i = 0; i < r.drop_count; i++)
        if (r.drops[i].offset + r.drops[i].n > all.n) abort();
    trust_write_headers(&in, &r, &out);
    struct header_field f;
    size_t at = 0;
    if (header_next(buf_slice(&out), &at, &f) != 1 || !slice_is(f.name, "Authentication-Results")) abort();
    if (count_results(arena, f.value) != (r.helo_checked ? 6 : 5)) abort();
    if (header_next(buf_slice(&out), &at, &f) != 1 || !slice_is(f.name, "Received-SPF") ||
        header_next(buf_slice(&out), &at, &f) != 0)
        abort();
    value = all; /* and as a field of others */
    if (results_authserv_id(arena, &value, &id) == 0)
        while (results_next(arena, &value, &one) == 1) results_property(&one, "smtp", "mailfrom");
    buf_free(&out);
    arena_destroy(arena);
    return 0;
}
