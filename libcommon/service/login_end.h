/* Sessions end when their account's password changes or the account goes: a worker of a front door hears of it here.
 * The event may be lost, as any may; a session that missed it goes on until it ends by itself. */
#ifndef POSTBUS_SERVICE_LOGIN_END_H
#define POSTBUS_SERVICE_LOGIN_END_H

#include "libcommon/bus/bus.h"

struct login_end;

/* The logins of this user so far are over: its sessions are to be ended. */
typedef void login_end_fn(void *ctx, const char *user);

struct login_end *login_end_create(struct bus *b, login_end_fn *ended, void *ctx);
void login_end_destroy(struct login_end *l);
/* Whether the user's logins were ended after `since_us` (clock_monotonic_us): for a login that was asked for then and
 * answered now. Remembers the last 256 users. */
bool login_end_came(const struct login_end *l, const char *user, int64_t since_us);

#endif
