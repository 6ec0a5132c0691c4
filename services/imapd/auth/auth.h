/* What the mechanisms of AUTHENTICATE share. */
#ifndef POSTBUS_IMAPD_AUTH_H
#define POSTBUS_IMAPD_AUTH_H

#include "services/imapd/imapd.h"

/* The ends of a login: the command is answered. Wrong name or password; */
void auth_refuse(struct session *s);
/* accounts did not say that it is right: error and code as of bus_request; */
void auth_not_checked(struct session *s, int error, const char *code);
/* it is right, and was asked for at s->login_asked_us. */
void auth_right(struct session *s, const char *user, const char *address, const char *generation);

/* auth_scram.c: AUTHENTICATE SCRAM-SHA-256 or, plus, SCRAM-SHA-256-PLUS; the client's messages come
 * to s->on_line. */
void auth_scram(struct session *s, bool plus);

#endif
