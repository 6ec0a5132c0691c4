#include "services/cli/check/check_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ldns/ldns.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

enum {
    NAME_MAX_BYTES = 253,
    LABEL_MAX = 63,
    HEADER_BYTES = 12,
    UDP_PAYLOAD = 1232,
    PACKET_MAX = 65535,
    CHAIN_MAX = 16,
    CLASS_IN = 1,
    TYPE_NS = 2,
    TYPE_CNAME = 5
};
enum { FLAG_TC = 0x02, FLAG_QR = 0x80 };

int wire_server_set(struct wire_server *s, struct slice host, uint16_t port) {
    char text[64];
    struct sockaddr_in *v4 = (struct sockaddr_in *)&s->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&s->address;
    *s = (struct wire_server){.size = 0};
    if (!host.n || host.n >= sizeof text) return -1;
    memcpy(text, host.p, host.n);
    text[host.n] = 0;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        s->size = sizeof *v4;
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        s->size = sizeof *v6;
    }
    return s->size ? 0 : -1;
}

bool wire_name_is_valid(struct slice name) {
    size_t label = 0;
    if (!name.n || name.n > NAME_MAX_BYTES) return false;
    for (size_t i = 0; i <= name.n; i++) {
        bool end = i == name.n || name.p[i] == '.';
        if (end ? label == 0 || label > LABEL_MAX : name.p[i] == 0) return false;
        label = end ? 0 : label + 1;
    }
    return true;
}

const char *wire_type_text(int type) {
    static const struct {
        int type;
        const char *text;
    } types[] = {{TRUST_A, "A"},   {TYPE_NS, "NS"},    {TYPE_CNAME, "CNAME"}, {6, "SOA"},  {TRUST_PTR, "PTR"},
                 {TRUST_MX, "MX"}, {TRUST_TXT, "TXT"}, {TRUST_AAAA, "AAAA"},  {33, "SRV"}, {43, "DS"},
                 {48, "DNSKEY"},   {52, "TLSA"},       {257, "CAA"}};
    static char other[16];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type) return types[i].text;
    snprintf(other, sizeof other, "TYPE%d", type);
    return other;
}

struct slice wire_address_text(struct slice address, char out[80]) {
    return inet_ntop(address.n == 4 ? AF_INET : AF_INET6, address.p, out, 80) ? slice_of(out) : SLICE("");
}

/* Asking */

static void add_u16(struct buf *out, unsigned n) {
    buf_add_char(out, (char)(n >> 8 & 0xff));
    buf_add_char(out, (char)(n & 0xff));
}

/* RD and AD (RFC 6840 §5.7); an OPT record unless the server does not support it. */
static void write_question(struct buf *out, struct slice name, int type, unsigned id, bool edns) {
    struct slice label;
    add_u16(out, id);
    add_u16(out, 0x0120);
    add_u16(out, 1);
    add_u16(out, 0);
    add_u16(out, 0);
    add_u16(out, edns ? 1 : 0);
    for (bool more = true; more;) {
        more = slice_cut(&name, '.', &label);
        if (!more) label = name;
        buf_add_char(out, (char)label.n);
        buf_add_slice(out, label);
    }
    buf_add_char(out, 0);
    add_u16(out, (unsigned)type);
    add_u16(out, CLASS_IN);
    if (edns) {
        buf_add_char(out, 0);
        add_u16(out, 41);
        add_u16(out, UDP_PAYLOAD);
        buf_add(out, "\0\0\0\0\0\0", 6);
    }
}

/* Whether a packet answers the question that was sent: its id and its question section, in any
 * case. */
static bool answers(struct slice packet, struct slice question, size_t question_bytes) {
    if (packet.n < HEADER_BYTES || memcmp(packet.p, question.p, 2) != 0 || !((unsigned char)packet.p[2] & FLAG_QR))
        return false;
    bool has_question = packet.p[4] == 0 && packet.p[5] == 1;
    if (!has_question)
        return packet.p[4] == 0 && packet.p[5] == 0 &&
               (packet.p[3] & 0x0f) != WIRE_NOERROR; /* FORMERR may have no question section */
    struct slice asked = slice_make(question.p + HEADER_BYTES, question_bytes);
    return packet.n >= HEADER_BYTES + question_bytes &&
           slice_equal_nocase(slice_make(packet.p + HEADER_BYTES, question_bytes), asked);
}

/* Waits for the descriptor until this time; false when it has passed. */
static bool wait_for(int fd, short what, int64_t until) {
    for (;;) {
        int64_t left = until - wire_now_ms();
        struct pollfd p = {.fd = fd, .events = what};
        if (left <= 0) return false;
        int n = poll(&p, 1, (int)left);
        if (n > 0) return true;
        if (n == 0 || errno != EINTR) return false;
    }
}

static int open_socket(const struct wire_server *s, int kind) {
    int fd = socket(s->address.ss_family, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&s->address, s->size) != 0 && errno != EINPROGRESS) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static unsigned new_id(void) {
    unsigned char bytes[2];
    arc4random_buf(bytes, sizeof bytes);
    return (unsigned)bytes[0] << 8 | bytes[1];
}

int wire_ask_udp(struct wire_server *s, struct slice name, int type, int milliseconds, struct buf *packet) {
    struct buf question = {0};
    int64_t until = wire_now_ms() + milliseconds;
    int fd = open_socket(s, SOCK_DGRAM), said = WIRE_SILENT;
    write_question(&question, name, type, new_id(), !s->plain);
    if (fd >= 0 && send(fd, question.data, question.n, MSG_NOSIGNAL) == (ssize_t)question.n) {
        while (said == WIRE_SILENT && wait_for(fd, POLLIN, until)) {
            buf_reset(packet);
            ssize_t n = recv(fd, buf_reserve(packet, PACKET_MAX), PACKET_MAX, 0);
            if (n < 0 && errno != EAGAIN) break; /* no server listens there */
            if (n <= 0) continue;
            packet->n = (size_t)n;
            if (!answers(buf_slice(packet), buf_slice(&question), name.n + 6)) continue; /* a forged or late answer */
            said = (unsigned char)packet->data[2] & FLAG_TC ? WIRE_CUT : WIRE_ANSWERED;
        }
    }
    if (fd >= 0) close(fd);
    buf_free(&question);
    int rcode = said == WIRE_ANSWERED ? packet->data[3] & 0x0f : WIRE_NOERROR;
    if (!s->plain && (rcode == WIRE_FORMERR || rcode == WIRE_NOTIMP)) { /* RFC 6891 §7: a server without EDNS */
        s->plain = true;
        return wire_ask_udp(s, name, type, milliseconds, packet);
    }
    return said;
}

/* Sends or receives n bytes; false at end of file, on an error, or when the time has passed. */
static bool move_all(int fd, char *bytes, size_t n, bool out, int64_t until) {
    while (n) {
        if (!wait_for(fd, out ? POLLOUT : POLLIN, until)) return false;
        ssize_t moved = out ? send(fd, bytes, n, MSG_NOSIGNAL) : recv(fd, bytes, n, 0);
        if (moved < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (moved <= 0) return false;
        bytes += moved;
        n -= (size_t)moved;
    }
    return true;
}

int wire_ask_tcp(struct wire_server *s, struct slice name, int type, int milliseconds, struct buf *packet) {
    struct buf question = {0}, framed = {0};
    unsigned char length[2];
    int64_t until = wire_now_ms() + milliseconds;
    int fd = open_socket(s, SOCK_STREAM);
    bool good = false;
    write_question(&question, name, type, new_id(), !s->plain);
    add_u16(&framed, (unsigned)question.n);
    buf_add_slice(&framed, buf_slice(&question));
    if (fd >= 0 && move_all(fd, framed.data, framed.n, true, until) && move_all(fd, (char *)length, 2, false, until)) {
        size_t n = (size_t)length[0] << 8 | length[1];
        buf_reset(packet);
        good = move_all(fd, buf_reserve(packet, n + 1), n, false, until);
        packet->n = good ? n : 0;
        good = good && answers(buf_slice(packet), buf_slice(&question), name.n + 6);
    }
    if (fd >= 0) close(fd);
    buf_free(&question);
    buf_free(&framed);
    return good ? WIRE_ANSWERED : WIRE_SILENT;
}

/* Reading */

/* Dotted text of a name in wire format, lower case; empty for the root. */
static struct slice name_text(struct arena *arena, const ldns_rdf *rdf) {
    struct slice wire = slice_make(ldns_rdf_data(rdf), ldns_rdf_size(rdf));
    char *text = arena_alloc(arena, wire.n + 1);
    size_t n = 0;
    while (wire.n && *wire.p) {
        size_t label = (unsigned char)*wire.p;
        if (label > LABEL_MAX || label >= wire.n) return SLICE("");
        if (n) text[n++] = '.';
        for (size_t i = 1; i <= label; i++)
            text[n++] = (char)(wire.p[i] >= 'A' && wire.p[i] <= 'Z' ? wire.p[i] | 0x20 : wire.p[i]);
        wire = slice_skip(wire, label + 1);
    }
    return slice_make(text, n);
}

/* A TXT record's strings without anything between them (RFC 7208 §3.3, RFC 6376 §3.6.2.2); other
 * data in wire format. */
static struct slice joined(struct arena *arena, const ldns_rr *rr, bool strings) {
    struct buf all = {0};
    for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
        struct slice one = slice_make(ldns_rdf_data(ldns_rr_rdf(rr, i)), ldns_rdf_size(ldns_rr_rdf(rr, i)));
        buf_add_slice(&all, slice_skip(one, strings ? 1 : 0));
    }
    struct slice copy = arena_slice(arena, buf_slice(&all));
    buf_free(&all);
    return copy;
}

static bool read_record(struct arena *arena, const ldns_rr *rr, int type, struct trust_record *out) {
    size_t parts = ldns_rr_rd_count(rr);
    *out = (struct trust_record){0};
    switch (type) {
    case TRUST_A:
    case TRUST_AAAA: out->data = joined(arena, rr, false); return out->data.n == (type == TRUST_A ? 4 : 16);
    case TRUST_TXT: out->data = joined(arena, rr, true); return true;
    case TRUST_MX:
        if (parts != 2) return false;
        out->preference = ldns_rdf2native_int16(ldns_rr_rdf(rr, 0));
        out->data = name_text(arena, ldns_rr_rdf(rr, 1));
        return true;
    case TRUST_PTR:
    case TYPE_NS:
    case TYPE_CNAME:
        if (parts != 1) return false;
        out->data = name_text(arena, ldns_rr_rdf(rr, 0));
        return true;
    default: out->data = joined(arena, rr, false); return true;
    }
}

int wire_read(struct arena *arena, struct slice packet, struct slice name, int type, struct wire_answer *out) {
    ldns_pkt *p = NULL;
    *out = (struct wire_answer){.alias = SLICE("")};
    if (ldns_wire2pkt(&p, (const uint8_t *)packet.p, packet.n) != LDNS_STATUS_OK) return -1;
    const ldns_rr_list *list = ldns_pkt_answer(p);
    size_t total = ldns_rr_list_rr_count(list);
    struct slice at = name;
    out->rcode = (int)ldns_pkt_get_rcode(p);
    out->secure = ldns_pkt_ad(p);
    out->recursive = ldns_pkt_ra(p);
    out->records = arena_alloc(arena, (total + 1) * sizeof *out->records);
    for (int hops = 0; hops <= CHAIN_MAX && !out->count; hops++) {
        struct slice next = SLICE("");
        for (size_t i = 0; i < total; i++) {
            const ldns_rr *rr = ldns_rr_list_rr(list, i);
            if (!slice_equal_nocase(name_text(arena, ldns_rr_owner(rr)), at)) continue;
            if ((int)ldns_rr_get_type(rr) == type)
                out->count += read_record(arena, rr, type, &out->records[out->count]);
            else if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_CNAME && ldns_rr_rd_count(rr) == 1)
                next = name_text(arena, ldns_rr_rdf(rr, 0));
        }
        if (out->count || !next.n) break;
        at = out->alias = next;
    }
    ldns_pkt_free(p);
    return 0;
}
