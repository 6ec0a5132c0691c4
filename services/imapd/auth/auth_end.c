/* The ends of a login, by LOGIN and by every mechanism of AUTHENTICATE. */
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "services/imapd/auth/auth.h"

static struct metric logins = METRIC_COUNTER("postbus_imapd_logins_total", "Logins that succeeded");
static struct metric login_failures =
    METRIC_COUNTER("postbus_imapd_login_failures_total", "Logins refused for a wrong name or password");

void auth_refuse(struct session *s) {
    metric_add(&login_failures, 1);
    log_info("login refused", "session", s->trace, "client", stream_peer(s->stream), NULL);
    if (++s->login_failures >= LIMIT_LOGIN_FAILURES) {
        buf_printf(&s->out, "%.*s NO [AUTHENTICATIONFAILED] Wrong name or password\r\n", SLICE_FMT(s->tag));
        session_bye(s, "Too many failed logins");
        return;
    }
    session_no(s, "[AUTHENTICATIONFAILED] Wrong name or password");
}

void auth_not_checked(struct session *s, int error, const char *code) {
    if (error == BUS_REFUSED && strcmp(code, "denied") == 0)
        auth_refuse(s);
    else
        session_no(s, strcmp(code, "busy") == 0 ? "[UNAVAILABLE] Too many attempts; try again later"
                                                : "[UNAVAILABLE] Logins cannot be checked now; try again later");
}

void auth_right(struct session *s, const char *user, const char *address, const char *generation) {
    if (logins_were_ended(s->imapd->logins, user, s->login_asked_us)) {
        session_no(s, "[UNAVAILABLE] The account was changed during the login; log in again");
        return;
    }
    if (!user_join(s, slice_of(user))) {
        session_no(s, "[LIMIT] Too many sessions for this user");
        return;
    }
    metric_add(&logins, 1);
    s->address = memory_copy(slice_of(address));
    login_enter(s->imapd->logins, &s->validity, &s->life, slice_of(user), slice_of(address), slice_of(generation));
    s->state = SESSION_AUTHENTICATED;
    s->login_failures = 0;
    session_logged_in(s);
    log_info("login", "session", s->trace, "user", user, "address", address, "client", stream_peer(s->stream), "tls",
             stream_tls_version(s->stream), NULL);
    struct buf capability = {0};
    session_capability(s, &capability);
    session_ok(s, "[CAPABILITY %s] Logged in", buf_str(&capability));
    buf_free(&capability);
}
