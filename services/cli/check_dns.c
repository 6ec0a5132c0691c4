#include "services/cli/check.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unbound.h>

#include "libcommon/base/buf.h"

enum { TYPE_TLSA = 52, TYPE_CAA = 257 };
enum { NAME_BYTES_MAX = 253, DNS_CLASS_IN = 1, RCODE_NOERROR = 0, RCODE_NXDOMAIN = 3 };

struct known {
    struct known *next;
    struct slice name;
    int type;
    struct trust_answer answer;
};

struct check_dns {
    struct ub_ctx *ub;
    struct arena *arena;
    struct known *known;
    bool trace;
};

/* Dotted text of an uncompressed name, lower case; empty when it is none. */
static struct slice read_name(struct arena *arena, struct slice wire) {
    char *text = arena_alloc(arena, wire.n + 1);
    size_t n = 0;
    while (wire.n && *wire.p) {
        size_t label = (unsigned char)*wire.p;
        if (label > 63 || label >= wire.n) return SLICE("");
        if (n) text[n++] = '.';
        for (size_t i = 1; i <= label; i++) {
            char c = wire.p[i];
            text[n++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        }
        wire = slice_skip(wire, label + 1);
    }
    return slice_make(text, n);
}

/* A TXT record's strings, put together without anything between them (RFC 7208 §3.3, RFC 6376 §3.6.2.2). */
static struct slice read_strings(struct arena *arena, struct slice wire) {
    char *text = arena_alloc(arena, wire.n + 1);
    size_t n = 0;
    while (wire.n) {
        size_t length = (unsigned char)*wire.p;
        if (length >= wire.n) break;
        memcpy(text + n, wire.p + 1, length);
        n += length;
        wire = slice_skip(wire, length + 1);
    }
    return slice_make(text, n);
}

static bool read_record(struct arena *arena, struct slice wire, int type, struct trust_record *out) {
    switch (type) {
    case TRUST_A: out->data = arena_slice(arena, wire); return wire.n == 4;
    case TRUST_AAAA: out->data = arena_slice(arena, wire); return wire.n == 16;
    case TRUST_TXT: out->data = read_strings(arena, wire); return true;
    case TYPE_TLSA:
    case TYPE_CAA: out->data = arena_slice(arena, wire); return true; /* as on the wire */
    case TRUST_MX:
        if (wire.n < 3) return false;
        out->preference = (uint16_t)((unsigned char)wire.p[0] << 8 | (unsigned char)wire.p[1]);
        out->data = read_name(arena, slice_skip(wire, 2));
        return true;
    default: out->data = read_name(arena, wire); return true;
    }
}

static void read_answer(struct arena *arena, const struct ub_result *r, int type, struct trust_answer *out) {
    if (r->rcode == RCODE_NXDOMAIN) {
        out->status = TRUST_DNS_NXDOMAIN;
        return;
    }
    if (r->rcode != RCODE_NOERROR) return;
    size_t count = 0;
    while (r->data && r->data[count]) count++;
    struct trust_record *records = arena_alloc(arena, (count + 1) * sizeof *records);
    for (size_t i = 0; i < count; i++)
        if (read_record(arena, slice_make(r->data[i], (size_t)r->len[i]), type, &records[out->count])) out->count++;
    out->records = records;
    out->status = out->count ? TRUST_DNS_OK : TRUST_DNS_NODATA;
}

static void print_answer(const struct known *k) {
    static const char *const words[] = {"", "no such record", "no such name", "no answer"};
    const char *type = k->type == TRUST_A      ? "A"
                       : k->type == TRUST_AAAA ? "AAAA"
                       : k->type == TRUST_MX   ? "MX"
                       : k->type == TRUST_TXT  ? "TXT"
                       : k->type == TYPE_TLSA  ? "TLSA"
                       : k->type == TYPE_CAA   ? "CAA"
                                               : "PTR";
    if (k->answer.status != TRUST_DNS_OK) printf("dns    %.*s %s: %s\n", SLICE_FMT(k->name), type, words[k->answer.status]);
    for (size_t i = 0; i < k->answer.count; i++) {
        struct slice s = k->answer.records[i].data;
        char text[INET6_ADDRSTRLEN];
        printf("dns    %.*s %s: ", SLICE_FMT(k->name), type);
        if (k->type == TRUST_MX) printf("%u ", k->answer.records[i].preference);
        if (k->type == TRUST_A || k->type == TRUST_AAAA)
            fputs(inet_ntop(k->type == TRUST_A ? AF_INET : AF_INET6, s.p, text, sizeof text), stdout);
        else /* foreign text: nothing of it may steer the terminal */
            for (size_t b = 0; b < s.n; b++) putchar(s.p[b] >= ' ' && s.p[b] < 0x7f ? s.p[b] : '?');
        putchar('\n');
    }
}

static const struct trust_answer *lookup(void *ctx, struct slice name, int type) {
    struct check_dns *d = ctx;
    for (struct known *k = d->known; k; k = k->next)
        if (k->type == type && slice_equal_nocase(k->name, name)) return &k->answer;
    struct known *k = arena_alloc(d->arena, sizeof *k);
    struct ub_result *r = NULL;
    *k = (struct known){.next = d->known, .name = arena_slice(d->arena, name), .type = type, .answer.status = TRUST_DNS_FAILED};
    d->known = k;
    /* a name that DNS cannot hold is one that is not there */
    if (name.n == 0 || name.n > NAME_BYTES_MAX || memchr(name.p, 0, name.n))
        k->answer.status = TRUST_DNS_NXDOMAIN;
    else if (ub_resolve(d->ub, arena_copy(d->arena, name), type, DNS_CLASS_IN, &r) == 0)
        read_answer(d->arena, r, type, &k->answer);
    ub_resolve_free(r);
    if (d->trace) print_answer(k);
    return &k->answer;
}

static bool set_resolver(struct ub_ctx *ub, const char *resolver) {
    char server[128];
    struct slice host = slice_of(resolver);
    ptrdiff_t colon = slice_find_last(host, ':');
    if (colon < 1) return false;
    struct slice port = slice_skip(host, (size_t)colon + 1);
    uint64_t number;
    host = slice_head(host, (size_t)colon);
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') host = slice_make(host.p + 1, host.n - 2);
    if (slice_to_u64(port, 65535, &number) || host.n > 64) return false;
    snprintf(server, sizeof server, "%.*s@%.*s", SLICE_FMT(host), SLICE_FMT(port));
    return ub_ctx_set_fwd(ub, server) == 0;
}

struct check_dns *check_dns_create(const char *resolver, bool trace) {
    struct check_dns *d = memory_alloc(sizeof *d);
    d->arena = arena_create();
    d->trace = trace;
    d->ub = ub_ctx_create();
    bool ready = d->ub && ub_ctx_set_option(d->ub, "do-not-query-localhost:", "no") == 0;
    if (ready && resolver) {
        /* names such as .test and 127.in-addr.arpa are the given resolver's to answer */
        ready = ub_ctx_set_option(d->ub, "unblock-lan-zones:", "yes") == 0 && set_resolver(d->ub, resolver);
        static const char *const own[] = {"test.", "invalid.", "localhost.", "127.in-addr.arpa."};
        for (size_t i = 0; ready && i < sizeof own / sizeof *own; i++) ub_ctx_zone_remove(d->ub, own[i]);
    } else if (ready) {
        ready = ub_ctx_resolvconf(d->ub, NULL) == 0;
    }
    if (ready) return d;
    fprintf(stderr, "postbus: no resolver can be asked at %s\n", resolver ? resolver : "what the system names");
    check_dns_destroy(d);
    return NULL;
}

void check_dns_destroy(struct check_dns *d) {
    if (!d) return;
    ub_ctx_delete(d->ub);
    arena_destroy(d->arena);
    free(d);
}

struct trust_dns check_dns_lookups(struct check_dns *d) { return (struct trust_dns){lookup, d}; }
