#include "services/verifier/dns/answer.h"

#include "libcommon/base/buf.h"

enum {
    HEADER_BYTES = 12,
    CLASS_IN = 1,
    RCODE_NXDOMAIN = 3,
    NEGATIVE_TTL = 60,
    NEGATIVE_TTL_MAX = 3600,
    MALFORMED = -1,
    TOO_MUCH = -2
};

struct record {
    char name[ANSWER_NAME_MAX];
    unsigned type, class;
    uint32_t ttl;
    size_t data, n; /* position and length of its rdata in the packet */
};

static unsigned read16(struct slice packet, size_t at) {
    const unsigned char *p = (const unsigned char *)packet.p + at;
    return (unsigned)p[0] << 8 | p[1];
}
static uint32_t read32(struct slice packet, size_t at) {
    return (uint32_t)read16(packet, at) << 16 | read16(packet, at + 2);
}

/* Reads the name at *at, following compression pointers (RFC 1035 §4.1.4), which may only go
 * backwards: that bounds the work. Dots, backslashes and bytes that are not printable inside a
 * label are written \DDD (RFC 1035 §5.1). Moves *at after the name. 0 or -1. */
static int read_name(struct slice packet, size_t *at, char out[ANSWER_NAME_MAX]) {
    size_t n = 0, here = *at, limit = packet.n, wire = 0;
    bool jumped = false;
    for (;;) {
        if (here >= limit) return -1;
        unsigned length = (unsigned char)packet.p[here];
        if (length == 0) {
            if (!jumped) *at = here + 1;
            break;
        }
        if ((length & 0xc0) == 0xc0) {
            if (here + 1 >= packet.n) return -1;
            size_t target = (size_t)(read16(packet, here) & 0x3fff);
            if (target >= here) return -1;
            if (!jumped) *at = here + 2;
            jumped = true;
            here = target;
            continue;
        }
        if (length > 63 || here + 1 + length > packet.n) return -1;
        if ((wire += length + 1) > 254) return -1;
        if (n) out[n++] = '.';
        for (unsigned i = 0; i < length; i++) {
            unsigned char c = (unsigned char)packet.p[here + 1 + i];
            if (n + 6 > ANSWER_NAME_MAX) return -1;
            if (c <= 0x20 || c >= 0x7f || c == '.' || c == '\\') {
                out[n++] = '\\';
                out[n++] = (char)('0' + c / 100);
                out[n++] = (char)('0' + c / 10 % 10);
                out[n++] = (char)('0' + c % 10);
            } else {
                out[n++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
            }
        }
        here += 1 + length;
    }
    out[n] = '\0';
    return 0;
}

static int read_record(struct slice packet, size_t *at, struct record *r) {
    if (read_name(packet, at, r->name) || *at + 10 > packet.n) return -1;
    r->type = read16(packet, *at);
    r->class = read16(packet, *at + 2);
    r->ttl = read32(packet, *at + 4);
    if (r->ttl > 0x7fffffff) r->ttl = 0; /* RFC 2181 §8 */
    r->n = read16(packet, *at + 8);
    r->data = *at + 10;
    if (r->data + r->n > packet.n) return -1;
    *at = r->data + r->n;
    return 0;
}

static int read_name_data(struct arena *arena, struct slice packet, const struct record *r, size_t skip,
                          struct slice *out) {
    char name[ANSWER_NAME_MAX];
    size_t at = r->data + skip;
    struct slice upto = slice_head(packet, r->data + r->n);
    if (r->n <= skip || read_name(upto, &at, name) || at != r->data + r->n) return -1;
    *out = arena_slice(arena, slice_of(name));
    return 0;
}

static int read_data(struct arena *arena, struct slice packet, const struct record *r, struct answer_record *out) {
    struct slice data = {packet.p + r->data, r->n};
    switch (r->type) {
    case TYPE_A:
    case TYPE_AAAA:
        if (data.n != (r->type == TYPE_A ? 4u : 16u)) return -1;
        out->data = arena_slice(arena, data);
        return 0;
    case TYPE_TXT: {
        char *text = arena_alloc(arena, data.n + 1);
        size_t n = 0;
        while (data.n) {
            size_t length = (unsigned char)data.p[0];
            if (length + 1 > data.n) return -1;
            memcpy(text + n, data.p + 1, length);
            n += length;
            data = slice_skip(data, length + 1);
        }
        out->data = slice_make(text, n);
        return 0;
    }
    case TYPE_MX:
        if (data.n < 3) return -1;
        out->preference = (uint16_t)read16(packet, r->data);
        return read_name_data(arena, packet, r, 2, &out->data);
    case TYPE_PTR:
    case TYPE_CNAME:
    case TYPE_NS: return read_name_data(arena, packet, r, 0, &out->data);
    default: out->data = arena_slice(arena, data); return 0;
    }
}

/* 0, MALFORMED or TOO_MUCH. The answer section may have the aliases in any order: each round looks
 * for the alias of the current name. */
static int follow_aliases(struct slice packet, size_t answers, unsigned count, int type, char name[ANSWER_NAME_MAX],
                          uint32_t *ttl) {
    struct record r;
    for (int step = 0; step < ANSWER_CHAIN_MAX; step++) {
        bool moved = false;
        size_t at = answers;
        for (unsigned i = 0; i < count && !moved; i++) {
            if (read_record(packet, &at, &r)) return MALFORMED;
            if (r.class != CLASS_IN || r.type != TYPE_CNAME || type == TYPE_CNAME || strcmp(r.name, name) != 0)
                continue;
            size_t target = r.data;
            if (read_name(slice_head(packet, r.data + r.n), &target, name)) return MALFORMED;
            if (r.ttl < *ttl) *ttl = r.ttl;
            moved = true;
        }
        if (!moved) return 0;
    }
    return TOO_MUCH;
}

static uint32_t negative_ttl(struct slice packet, size_t at, unsigned count) {
    struct record r;
    for (unsigned i = 0; i < count; i++) {
        if (read_record(packet, &at, &r)) break;
        if (r.type != TYPE_SOA || r.n < 22) continue;
        uint32_t minimum = read32(packet, r.data + r.n - 4), ttl = r.ttl < minimum ? r.ttl : minimum;
        return ttl < NEGATIVE_TTL_MAX ? ttl : NEGATIVE_TTL_MAX;
    }
    return NEGATIVE_TTL;
}

static int parse(struct arena *arena, struct slice packet, int type, char name[ANSWER_NAME_MAX], struct answer *out) {
    struct record r;
    char skipped[ANSWER_NAME_MAX];
    if (packet.n < HEADER_BYTES) return MALFORMED;
    unsigned rcode = read16(packet, 2) & 0xf, questions = read16(packet, 4), count = read16(packet, 6),
             authority = read16(packet, 8);
    if (rcode != 0 && rcode != RCODE_NXDOMAIN) return MALFORMED;
    if (count > ANSWER_RECORDS_MAX) return TOO_MUCH;
    size_t at = HEADER_BYTES;
    for (unsigned i = 0; i < questions; i++) {
        if (read_name(packet, &at, skipped) || at + 4 > packet.n) return MALFORMED;
        at += 4;
    }
    size_t answers = at;
    out->ttl = UINT32_MAX;
    int error = follow_aliases(packet, answers, count, type, name, &out->ttl);
    if (error) return error;
    out->canonical = arena_slice(arena, slice_of(name));
    out->records = arena_alloc(arena, (count + 1) * sizeof *out->records);
    for (unsigned i = 0; i < count; i++) {
        if (read_record(packet, &at, &r)) return MALFORMED;
        if (r.class != CLASS_IN || r.type != (unsigned)type || strcmp(r.name, name) != 0) continue;
        if (read_data(arena, packet, &r, &out->records[out->count])) return MALFORMED;
        if (r.ttl < out->ttl) out->ttl = r.ttl;
        out->count++;
    }
    if (out->count) {
        out->status = ANSWER_OK;
        return 0;
    }
    out->status = rcode == RCODE_NXDOMAIN ? ANSWER_NXDOMAIN : ANSWER_NODATA;
    uint32_t ttl = negative_ttl(packet, at, authority);
    if (ttl < out->ttl) out->ttl = ttl;
    return 0;
}

int answer_parse(struct arena *arena, struct slice packet, struct slice name, int type, struct answer *out) {
    char reached[ANSWER_NAME_MAX];
    int error = MALFORMED;
    memset(out, 0, sizeof *out);
    if (name.n && name.p[name.n - 1] == '.') name.n--;
    if (name.n < sizeof reached) {
        for (size_t i = 0; i < name.n; i++)
            reached[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 32 : name.p[i]);
        reached[name.n] = '\0';
        error = parse(arena, packet, type, reached, out);
        if (!error) return 0;
    }
    *out = (struct answer){.status = ANSWER_FAILED,
                           .reason = error == TOO_MUCH
                                         ? SLICE("the DNS answer has more records or aliases than are followed")
                                         : SLICE("malformed DNS answer")};
    return -1;
}

struct answer *answer_copy(struct arena *arena, const struct answer *a) {
    struct answer *copy = arena_alloc(arena, sizeof *copy);
    *copy = *a;
    copy->canonical = arena_slice(arena, a->canonical);
    copy->reason = arena_slice(arena, a->reason);
    copy->records = arena_alloc(arena, (a->count + 1) * sizeof *copy->records);
    for (size_t i = 0; i < a->count; i++) {
        copy->records[i].preference = a->records[i].preference;
        copy->records[i].data = arena_slice(arena, a->records[i].data);
    }
    return copy;
}
