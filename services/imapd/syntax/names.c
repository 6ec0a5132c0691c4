#include "libcommon/mail/utf7.h"
#include "services/imapd/imapd.h"
#include "services/imapd/write.h"

static bool is_utf8_session(const struct session *s) { return s->rev2 || s->utf8; }

/* "/" at the end only indicates that children will be created (RFC 9051 §6.3.4); "inbox" in any
 * case, also as a parent, is INBOX. */
bool name_from_client(struct session *s, struct slice wire, struct slice *name) {
    struct buf decoded = {0};
    bool valid = is_utf8_session(s) ? utf8_is_valid(wire) : utf7_decode(wire, &decoded);
    struct slice n = is_utf8_session(s) ? wire : buf_slice(&decoded);
    if (!valid && !is_utf8_session(s) && utf8_is_valid(wire)) { /* a rev1 client that sends UTF-8, or a single "&":
                                                                   accepted, because the meaning is unambiguous */
        valid = true;
        n = wire;
    }
    if (n.n && n.p[n.n - 1] == '/') n.n--;
    char *copy = arena_copy(s->arena, n);
    if (n.n >= 5 && strncasecmp(copy, "INBOX", 5) == 0 && (n.n == 5 || copy[5] == '/')) memcpy(copy, "INBOX", 5);
    *name = slice_make(copy, n.n);
    buf_free(&decoded);
    return valid && name->n <= MAILBOX_NAME_MAX;
}

void name_to_client(struct session *s, struct slice name) {
    if (is_utf8_session(s)) {
        write_astring(&s->out, name, true);
        return;
    }
    struct buf encoded = {0};
    if (!utf7_encode(name, &encoded)) buf_add_slice(&encoded, name);
    write_astring(&s->out, buf_slice(&encoded), false);
    buf_free(&encoded);
}
