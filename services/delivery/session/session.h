/* One SMTP session as a client (RFC 5321): greeting, EHLO, STARTTLS, then one transaction after
 * another, QUIT. Events are reported by flags, which the owner reads when it is woken; there are no
 * direct callbacks. */
#ifndef POSTBUS_DELIVERY_SESSION_H
#define POSTBUS_DELIVERY_SESSION_H

#include "libcommon/net/stream.h"
#include "services/delivery/session/settings.h"
#include "services/delivery/transaction/transaction.h"

struct session;
/* stream: connected; the session takes ownership. */
struct session *session_create(const struct session_settings *settings, struct stream *stream);
/* Closes: with QUIT when idle, otherwise without. A running transaction is dropped without an
 * outcome. The session is freed from the loop. */
void session_destroy(struct session *s);

void session_set_owner(struct session *s, struct life *owner);

enum session_state { SESSION_OPENING, SESSION_IDLE, SESSION_BUSY, SESSION_CLOSED };
enum session_state session_state(const struct session *s);
/* Valid as long as the session. */
const struct smtp_result *session_result(const struct session *s);

/* How many recipients one transaction may have here (RFC 9422 LIMITS), and whether MAIL may come
 * again. */
size_t session_rcpts_max(const struct session *s);
/* Begins a transaction on an idle session. Its recipients are settled when they are answered;
 * recipients that the server refused with 452 (too many) are left over. */
void session_begin(struct session *s, struct transaction *t);
/* Once after the state was SESSION_BUSY: the recipients that need another transaction at once, here
 * or on another connection; NULL: none. */
struct transaction *session_left_over(struct session *s);
/* Whether the connection broke while a transaction ran. */
bool session_broke(const struct session *s);
/* The number of transactions that the server has answered since the last call. */
size_t session_take_answered(struct session *s);
/* Whether the server has the whole message and only its answer is missing: such a session is not
 * given up when the process drains. */
bool session_awaits_final_reply(const struct session *s);

#endif
