#include "services/verifier/zone/records.h"

#include "services/verifier/zone/record_list.h"

size_t records_make(struct arena *arena, const struct records_input *in, struct dns_record records[RECORDS_MAX]) {
    struct record_list l = {.arena = arena, .records = records};
    records_add_mail(&l, in);
    records_add_hosts(&l, in);
    records_add_policies(&l, in);
    records_add_services(&l, in);
    return l.n;
}
