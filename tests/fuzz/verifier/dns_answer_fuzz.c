/* A DNS answer from anywhere: parsed, and held against what a domain should publish. */
#include "services/verifier/check/check_judge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dns_record wanted[] = {
    {.name = "a.test", .type = "MX", .value = "10 mx.test.", .purpose = "p", .needed = true},
    {.name = "a.test", .type = "TXT", .value = "\"v=spf1 -all\"", .purpose = "p"},
    {.name = "s._domainkey.a.test", .type = "TXT", .value = "\"v=DKIM1; k=rsa; p=abc\"", .purpose = "p"},
    {.name = "_mta-sts.a.test", .type = "TXT", .value = "\"v=STSv1; id=1\"", .purpose = "p"},
    {.name = "a.test", .type = "CNAME", .value = "mx.test.", .purpose = "p"},
    {.name = "a.test", .type = "SRV", .value = "0 1 993 mx.test.", .purpose = "p"},
    {.name = "a.test", .type = "TLSA", .value = "3 1 1 abcd", .purpose = "p"},
    {.name = "a.test", .type = "CAA", .value = "0 issue \"ca.test\"", .purpose = "p"},
    {.name = "a.test", .type = "A", .value = "192.0.2.1", .purpose = "p"},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    struct arena *arena = arena_create();
    const struct dns_record *record = &wanted[data[0] % (sizeof wanted / sizeof *wanted)];
    struct answer answer;
    struct check_context context = {.domain = "a.test",
                                    .mail_host = "mx.test",
                                    .addresses = {&answer},
                                    .host_addresses = {&answer},
                                    .spf_covers = -1};
    struct check_texts ds = {0, (const char *[]){"1 13 2 ab"}};
    ds.n = 1;
    answer_parse(arena, slice_make(data + 1, size - 1), slice_of(record->name), check_type(record->type), &answer);
    struct check_finding f = check_rrset(arena, 1, &record, &answer, &context);
    check_is_fault(&f);
    answer_parse(arena, slice_make(data + 1, size - 1), SLICE("a.test"), TYPE_DS, &answer);
    check_ds(arena, "a.test", ds, &answer, &answer);
    answer_parse(arena, slice_make(data + 1, size - 1), SLICE("a.test"), TYPE_NS, &answer);
    check_ns(arena, "a.test", "ns.test, ns2.test.", &answer);
    answer_parse(arena, slice_make(data + 1, size - 1), SLICE("1.2.0.192.in-addr.arpa"), TYPE_PTR, &answer);
    check_ptr(arena, "192.0.2.1", "mx.test", &answer);
    check_policy(arena, "a.test", "enforce", "mx.test", 200, "text/plain", slice_make(data, size), "");
    arena_destroy(arena);
    return 0;
}
