/* A DNS that says what a table says. Each name is unknown the first time it is asked (as in real
 * life), so that every proof is run again and again until nothing is missing. */
#ifndef POSTBUS_TEST_SCRIPTED_DNS_H
#define POSTBUS_TEST_SCRIPTED_DNS_H

#include <arpa/inet.h>
#include <stdlib.h>

#include "libcommon/trust/dns.h"

struct scripted_record {
    const char *name, *type, *data; /* data: text of the record; "!" SERVFAIL; MX: "10 host" */
};

struct scripted_dns {
    const struct scripted_record *records;
    size_t count;
    struct arena *arena;
    bool asked[512]; /* by a hash of name and type: whether it was asked before */
    int questions;
};

static inline int scripted_type(const char *type) {
    static const struct {
        const char *name;
        int type;
    } types[] = {{"A", TRUST_A}, {"AAAA", TRUST_AAAA}, {"MX", TRUST_MX}, {"TXT", TRUST_TXT}, {"PTR", TRUST_PTR}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, type) == 0) return types[i].type;
    return 0;
}

static inline const struct trust_answer *scripted_lookup(void *ctx, struct slice name, int type) {
    struct scripted_dns *d = ctx;
    unsigned hash = (unsigned)type;
    for (size_t i = 0; i < name.n; i++) hash = hash * 31 + (unsigned char)(name.p[i] | 0x20);
    if (!d->asked[hash % 512]) {
        d->asked[hash % 512] = true;
        d->questions++;
        return NULL;
    }
    struct trust_answer *a = arena_alloc(d->arena, sizeof *a);
    struct trust_record *records = arena_alloc(d->arena, (d->count + 1) * sizeof *records);
    a->status = TRUST_DNS_NXDOMAIN;
    a->records = records;
    for (size_t i = 0; i < d->count; i++) {
        if (!slice_equal_nocase(slice_of(d->records[i].name), name)) continue;
        if (a->status == TRUST_DNS_NXDOMAIN) a->status = TRUST_DNS_NODATA;
        if (strcmp(d->records[i].data, "!") == 0) {
            a->status = TRUST_DNS_FAILED;
            return a;
        }
        if (scripted_type(d->records[i].type) != type) continue;
        struct trust_record *r = &records[a->count++];
        unsigned char bytes[16];
        const char *data = d->records[i].data;
        a->status = TRUST_DNS_OK;
        if (type == TRUST_A || type == TRUST_AAAA) {
            inet_pton(type == TRUST_A ? AF_INET : AF_INET6, data, bytes);
            r->data = arena_slice(d->arena, slice_make(bytes, type == TRUST_A ? 4 : 16));
        } else if (type == TRUST_MX) {
            r->preference = (uint16_t)strtoul(data, NULL, 10);
            r->data = slice_of(strchr(data, ' ') + 1);
        } else {
            r->data = slice_of(data);
        }
    }
    return a;
}

#endif
