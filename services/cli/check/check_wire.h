/* One DNS question and its packet (RFC 1035 §4, EDNS: RFC 6891). Private to services/cli. */
#ifndef POSTBUS_CLI_CHECK_WIRE_H
#define POSTBUS_CLI_CHECK_WIRE_H

#include <sys/socket.h>

#include "libcommon/base/buf.h"
#include "libcommon/base/clock.h"
#include "libcommon/trust/dns.h"

static inline int64_t wire_now_ms(void) { return clock_monotonic_us() / 1000; }

enum { WIRE_NOERROR = 0, WIRE_FORMERR = 1, WIRE_NXDOMAIN = 3, WIRE_NOTIMP = 4, WIRE_REFUSED = 5 };
enum { WIRE_ANSWERED, WIRE_CUT /* truncated: send again over TCP */, WIRE_SILENT };

struct wire_server {
    struct sockaddr_storage address;
    socklen_t size;
    bool plain; /* it does not support EDNS */
};
/* host: an IPv4 or IPv6 address. 0 or -1. */
int wire_server_set(struct wire_server *s, struct slice host, uint16_t port);

/* Labels of 1 to 63 bytes, 253 in all; no NUL. */
bool wire_name_is_valid(struct slice name);
/* "TXT", "TYPE65" … valid until the next call. */
const char *wire_type_text(int type);
/* The text of an A or AAAA record, in out. */
struct slice wire_address_text(struct slice address, char out[80]);

/* Sends the question and waits for the answer in *packet. Packets with another id, name or sender
 * are ignored. */
int wire_ask_udp(struct wire_server *s, struct slice name, int type, int milliseconds, struct buf *packet);
int wire_ask_tcp(struct wire_server *s, struct slice name, int type, int milliseconds, struct buf *packet);

struct wire_answer {
    int rcode;
    bool secure /* AD */, recursive /* RA */;
    size_t count;
    struct trust_record *records; /* of the queried type, at the end of the aliases in the packet */
    struct slice alias;           /* the end of the aliases if it differs from the name; otherwise
                                     empty */
};
/* Reads a packet: 0, or -1 when it is malformed. TXT: its strings concatenated; MX, PTR, NS, CNAME:
 * the name, lower case; other types in wire format. */
int wire_read(struct arena *arena, struct slice packet, struct slice name, int type, struct wire_answer *out);

#endif
