/* Sessions end when their account's password is changed or the account is deleted: the workers of
 * smtpd, imapd and pop3d are told here. The event may be lost, like any other; a session that
 * missed it continues until its normal end. */
#ifndef POSTBUS_SERVICE_LOGIN_END_H
#define POSTBUS_SERVICE_LOGIN_END_H

#include "libcommon/bus/bus.h"

struct login_end;

/* The user's present logins are void: the sessions must be ended. */
typedef void login_end_fn(void *ctx, const char *user);

struct login_end *login_end_create(struct bus *b, login_end_fn *ended, void *ctx);
void login_end_destroy(struct login_end *l);
/* Whether the user's logins were ended after `since_us` (clock_monotonic_us): for a login that was
 * requested then and answered now. Remembers the last 256 users. */
bool login_end_came(const struct login_end *l, const char *user, int64_t since_us);

#endif
