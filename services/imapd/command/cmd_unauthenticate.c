/* UNAUTHENTICATE (RFC 8437): the connection goes back to the state before the login, and only its
 * TLS stays, not its compression. It never answers NO (§3). */
#include "libcommon/base/log.h"
#include "services/imapd/imapd.h"

void cmd_unauthenticate(struct session *s, struct parser *p) {
    (void)p;
    session_unselect(s); /* no message is expunged (§3) */
    log_info("logged out", "session", s->trace, "user", s->user->id, NULL);
    if (!session_logged_out(s)) {
        session_bye(s, "[UNAVAILABLE] Too many connections from your network that have not logged in");
        return;
    }
    struct buf capability = {0};
    session_capability(s, &capability);
    stream_end_compression(s->stream); /* with the response (§3) */
    session_ok(s, "[CAPABILITY %s] Logged out", buf_str(&capability));
    buf_free(&capability);
}
