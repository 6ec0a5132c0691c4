/* The logins of a worker's sessions: each ends when its account's password is changed or the account
 * is deleted. Used by smtpd, imapd and pop3d.
 *
 * account.changed tells of it at once. Because an event may be lost, accounts is also asked whether
 * the logins are still valid (accounts.logins): all of them when events may have been missed
 * (bus_follow), and in any case every POSTBUS_LOGIN_CHECK (5m). So a login outlives its password by
 * that time at most, and as long as accounts cannot be reached. */
#ifndef POSTBUS_SERVICE_LOGINS_H
#define POSTBUS_SERVICE_LOGINS_H

#include "libcommon/bus/bus.h"
#include "libcommon/service/life.h"

enum { LOGINS_CHECK_MAX = 200 /* logins in one request */ };

struct logins;

/* A member of a session's struct. All but `ended` is private to logins.c. */
struct login {
    bool ended;         /* the login is void; the session was woken */
    struct logins *all; /* NULL: not logged in */
    struct login *next, *previous;
    struct life *life;
    char *user, *address, *generation;
    unsigned round;
};

struct logins *logins_create(struct event_base *base, struct bus *b);
/* The logins that are still entered are taken out. */
void logins_destroy(struct logins *all);

/* Whether the user's logins were ended, or may have been, after `since_us` (clock_monotonic_us): for
 * a login that was requested then and answered now. Remembers the last 256 users. */
bool logins_were_ended(const struct logins *all, const char *user, int64_t since_us);

/* A session has logged in; the texts are those of the reply of accounts.login. */
void login_enter(struct logins *all, struct login *l, struct life *life, struct slice user, struct slice address,
                 struct slice generation);
/* It has logged out or ended; `ended` is false again. Nothing happens when it was not logged in. */
void login_leave(struct login *l);

#endif
