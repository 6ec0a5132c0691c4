#include "services/cli/check.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unbound.h>

#include "libcommon/base/buf.h"
#include "libcommon/base/clock.h"

enum {
    NAME_TEXT_MAX = 4 * 253, /* each byte may be written \DDD */
    DNS_CLASS_IN = 1,
    RCODE_NOERROR = 0,
    RCODE_NXDOMAIN = 3,
    ANSWER_MS = 8000, /* for one answer; then there is none */
    TOTAL_MS = 20000, /* for all of one check, from its first question on (RFC 7208 §4.6.4) */
};

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
    int64_t until_us; /* 0: nothing was asked yet */
    bool trace;
};

/* Dotted text of an uncompressed name, lower case, odd bytes as \DDD (RFC 1035 §5.1); empty when it is none. */
static struct slice read_name(struct arena *arena, struct slice wire) {
    char *text = arena_alloc(arena, 4 * wire.n + 1);
    size_t n = 0;
    while (wire.n && *wire.p) {
        size_t label = (unsigned char)*wire.p;
        if (label > 63 || label >= wire.n) return SLICE("");
        if (n) text[n++] = '.';
        for (size_t i = 1; i <= label; i++) {
            unsigned char c = (unsigned char)wire.p[i];
            if (c <= ' ' || c >= 0x7f || c == '.' || c == '\\')
                n += (size_t)sprintf(text + n, "\\%03u", c);
            else
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
    const char *type = k->type == TRUST_A ? "A" : k->type == TRUST_AAAA ? "AAAA" : k->type == TRUST_MX ? "MX" : k->type == TRUST_TXT ? "TXT" : "PTR";
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

struct waiting {
    bool done;
    struct ub_result *result; /* NULL: it failed */
};

static void on_result(void *ctx, int error, struct ub_result *r) {
    struct waiting *w = ctx;
    w->done = true;
    if (!error) w->result = r;
}

/* The answer, or NULL: there is none, or none in time. */
static struct ub_result *resolve(struct check_dns *d, const char *name, int type) {
    struct waiting w = {0};
    int id;
    int64_t now = clock_monotonic_us();
    if (!d->until_us) d->until_us = now + TOTAL_MS * 1000;
    int64_t until = now + ANSWER_MS * 1000 < d->until_us ? now + ANSWER_MS * 1000 : d->until_us;
    if (now >= until || ub_resolve_async(d->ub, name, type, DNS_CLASS_IN, &w, on_result, &id) != 0) return NULL;
    for (; !w.done && now < until; now = clock_monotonic_us()) {
        struct pollfd answer = {.fd = ub_fd(d->ub), .events = POLLIN};
        if (poll(&answer, 1, (int)((until - now + 999) / 1000)) > 0) ub_process(d->ub);
    }
    if (!w.done) ub_cancel(d->ub, id);
    return w.result;
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
    if (name.n == 0 || name.n > NAME_TEXT_MAX || memchr(name.p, 0, name.n))
        k->answer.status = TRUST_DNS_NXDOMAIN;
    else if ((r = resolve(d, arena_copy(d->arena, name), type)))
        read_answer(d->arena, r, type, &k->answer);
    else
        k->answer.late = clock_monotonic_us() >= d->until_us;
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
    bool ready = d->ub && ub_ctx_async(d->ub, 1) == 0 && ub_ctx_set_option(d->ub, "do-not-query-localhost:", "no") == 0;
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
