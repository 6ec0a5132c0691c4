/* COMPRESS (RFC 4978). TLS of this server does not compress, so there is no other layer. */
#include "services/imapd/imapd.h"

void cmd_compress(struct session *s, struct parser *p) {
    if (!parse_space(p) || !parse_word(p, "DEFLATE") || !parse_end(p)) {
        session_bad(s, "COMPRESS requires the name of a mechanism: DEFLATE");
    } else if (stream_is_compressed(s->stream)) {
        session_bad(s, "COMPRESS is already active");
    } else {
        s->compress = true;
        session_ok(s, "DEFLATE active");
    }
}
