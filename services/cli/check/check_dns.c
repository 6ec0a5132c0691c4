/* The DNS client of `postbus check`: sends one question after the other to the given server, or to
 * the system's, and waits. It is not a resolver: it follows aliases, but leaves recursion and
 * DNSSEC to the server (an answer is secure if the server sets AD). So any DNS server can be used:
 * one that only serves zones, one without EDNS, a script.
 *
 * A server that serves zones without recursion refuses the questions of a DMARC tree walk for names
 * above its zones; such names count as nonexistent. Every other refusal is a failure.
 *
 * Bounds: UDP_TRIES attempts for a question, at all servers; TCP_MS over TCP; ALIASES_MAX aliases.
 * When WASTED_MS were spent on waiting for missing answers, or when no answer ever arrived, further
 * questions fail at once. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/buf.h"
#include "services/cli/check/check.h"
#include "services/cli/check/check_wire.h"

enum {
    SERVERS_MAX = 3,
    UDP_TRIES = 2,
    UDP_FIRST_MS = 2000,
    UDP_AGAIN_MS = 3000,
    TCP_MS = 5000,
    WASTED_MS = 15000,
    ALIASES_MAX = 16
};

struct known {
    struct known *next;
    struct slice name;
    int type;
    struct trust_answer answer;
};

struct check_dns {
    struct arena *arena;
    struct known *known;
    size_t server_count;
    struct wire_server servers[SERVERS_MAX];
    bool trace;
    bool dead;       /* a question had no answer, and no answer ever arrived */
    bool heard;      /* a server has sent an answer */
    int64_t waited;  /* milliseconds spent on waiting for missing answers */
    struct buf last; /* the last packet */
};

static void print_answer(const struct known *k) {
    static const char *const words[] = {"", "no such record", "no such name", "no answer"};
    const char *type = wire_type_text(k->type);
    char line[80];
    if (k->answer.status != TRUST_DNS_OK)
        printf("dns    %.*s %s: %s\n", SLICE_FMT(k->name), type, words[k->answer.status]);
    for (size_t i = 0; i < k->answer.count; i++) {
        const struct trust_record *r = &k->answer.records[i];
        printf("dns    %.*s %s: ", SLICE_FMT(k->name), type);
        if (k->type == TRUST_MX) printf("%u ", r->preference);
        struct slice s = k->type == TRUST_A || k->type == TRUST_AAAA ? wire_address_text(r->data, line) : r->data;
        for (size_t b = 0; b < s.n; b++)
            putchar(s.p[b] >= ' ' && s.p[b] < 0x7f ? s.p[b] : '?'); /* text from DNS must not control the terminal */
        putchar('\n');
    }
}

/* Gets an answering packet in d->last: from any server, over UDP, then over TCP if it was
 * truncated. False when there was none except SERVFAIL or REFUSED. */
static bool exchange(struct check_dns *d, struct slice name, int type, struct wire_answer *out) {
    bool got = false;
    for (int round = 0; round < UDP_TRIES; round++)
        for (size_t i = 0; i < d->server_count; i++) {
            if (d->dead || d->waited > WASTED_MS) return got;
            int64_t begin = wire_now_ms();
            int said = wire_ask_udp(&d->servers[i], name, type, round ? UDP_AGAIN_MS : UDP_FIRST_MS, &d->last);
            if (said == WIRE_CUT) {
                d->heard = true;
                said = wire_ask_tcp(&d->servers[i], name, type, TCP_MS, &d->last);
                round = UDP_TRIES; /* the server answered; further attempts over UDP are useless */
            }
            if (said != WIRE_ANSWERED) {
                d->waited += wire_now_ms() - begin;
                continue;
            }
            d->heard = true;
            if (wire_read(d->arena, buf_slice(&d->last), name, type, out) != 0) continue;
            got = true;
            if (out->rcode == WIRE_NOERROR || out->rcode == WIRE_NXDOMAIN) return true;
        }
    d->dead = !d->heard;
    return got;
}

/* Whether the question to a server without recursion is for _dmarc of a name above one of its
 * zones. */
static bool is_above_its_zones(const struct check_dns *d, struct slice name) {
    static const char label[] = "_dmarc.";
    if (!slice_starts_nocase(name, slice_of(label))) return false;
    struct slice domain = slice_skip(name, strlen(label));
    for (const struct known *k = d->known; k; k = k->next) {
        if (k->answer.status == TRUST_DNS_FAILED || k->name.n <= domain.n + strlen(label)) continue;
        struct slice tail = slice_skip(k->name, k->name.n - domain.n);
        if (slice_equal_nocase(tail, domain) && tail.p[-1] == '.') return true;
    }
    return false;
}

static void resolve(struct check_dns *d, struct known *k) {
    struct slice name = k->name;
    struct wire_answer a;
    for (int aliases = 0; aliases <= ALIASES_MAX; aliases++) {
        if (!wire_name_is_valid(name)) { /* a name that is invalid in DNS counts as nonexistent */
            k->answer.status = TRUST_DNS_NXDOMAIN;
            return;
        }
        if (!exchange(d, name, k->type, &a)) return;
        if (a.rcode == WIRE_REFUSED && !a.recursive && is_above_its_zones(d, name)) a.rcode = WIRE_NXDOMAIN;
        if (a.rcode != WIRE_NOERROR && a.rcode != WIRE_NXDOMAIN) return;
        k->answer.secure = a.secure && (aliases == 0 || k->answer.secure);
        if (a.count || a.rcode == WIRE_NXDOMAIN || !a.alias.n) {
            k->answer.status = a.count                    ? TRUST_DNS_OK
                               : a.rcode == WIRE_NXDOMAIN ? TRUST_DNS_NXDOMAIN
                                                          : TRUST_DNS_NODATA;
            k->answer.count = a.count;
            k->answer.records = a.records;
            return;
        }
        name = a.alias; /* the answer ends with an alias, whose target may be in another zone of
                           this server */
    }
}

static const struct trust_answer *lookup(void *ctx, struct slice name, int type) {
    struct check_dns *d = ctx;
    if (name.n && name.p[name.n - 1] == '.') name.n--;
    for (struct known *k = d->known; k; k = k->next)
        if (k->type == type && slice_equal_nocase(k->name, name)) return &k->answer;
    struct known *k = arena_alloc(d->arena, sizeof *k);
    *k = (struct known){.name = arena_slice(d->arena, name), .type = type, .answer.status = TRUST_DNS_FAILED};
    resolve(d, k);
    k->next = d->known;
    d->known = k;
    k->answer.late = k->answer.status == TRUST_DNS_FAILED && (d->dead || d->waited > WASTED_MS);
    if (d->trace) print_answer(k);
    return &k->answer;
}

/* The name servers of resolv.conf(5). */
static void take_system_servers(struct check_dns *d) {
    char line[512];
    FILE *f = fopen("/etc/resolv.conf", "re");
    while (f && d->server_count < SERVERS_MAX && fgets(line, sizeof line, f)) {
        struct slice s = slice_trim(slice_of(line));
        if (!slice_starts(s, SLICE("nameserver")) || s.n < 12 || (s.p[10] != ' ' && s.p[10] != '\t')) continue;
        if (wire_server_set(&d->servers[d->server_count], slice_trim(slice_skip(s, 11)), 53) == 0) d->server_count++;
    }
    if (f) fclose(f);
    if (!d->server_count && wire_server_set(&d->servers[0], SLICE("127.0.0.1"), 53) == 0) d->server_count = 1;
}

/* "ADDR", "ADDR:PORT", "[ADDR]:PORT" */
static bool take_given_server(struct check_dns *d, struct slice text) {
    uint64_t port = 53;
    struct slice host = text;
    ptrdiff_t colon = slice_find_last(text, ':');
    bool bracketed = text.n && text.p[0] == '[', one_colon = colon >= 0 && slice_find(text, ':') == colon;
    if (bracketed || one_colon) {
        if (bracketed && text.p[text.n - 1] == ']') colon = (ptrdiff_t)text.n;
        if (colon < 1 ||
            ((size_t)colon < text.n && (slice_to_u64(slice_skip(text, (size_t)colon + 1), 65535, &port) || !port)))
            return false;
        host = slice_head(text, (size_t)colon);
    }
    if (bracketed) {
        if (host.n < 3 || host.p[host.n - 1] != ']') return false;
        host = slice_make(host.p + 1, host.n - 2);
    }
    if (wire_server_set(&d->servers[0], host, (uint16_t)port) != 0) return false;
    d->server_count = 1;
    return true;
}

struct check_dns *check_dns_create(const char *resolver, bool trace) {
    struct check_dns *d = memory_alloc(sizeof *d);
    d->arena = arena_create();
    d->trace = trace;
    if (!resolver)
        take_system_servers(d);
    else
        take_given_server(d, slice_of(resolver));
    if (d->server_count) return d;
    fprintf(stderr,
            "postbus: %s is not a usable resolver: give ADDRESS:PORT, such as 192.0.2.1:53 or [2001:db8::1]:53\n",
            resolver ? resolver : "this machine");
    check_dns_destroy(d);
    return NULL;
}

void check_dns_destroy(struct check_dns *d) {
    if (!d) return;
    buf_free(&d->last);
    arena_destroy(d->arena);
    free(d);
}

struct trust_dns check_dns_lookups(struct check_dns *d) { return (struct trust_dns){lookup, d}; }
