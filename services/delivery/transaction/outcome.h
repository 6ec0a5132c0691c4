/* The outcome of one attempt for a recipient, and its effect on the state in the envelope: pure. */
#ifndef POSTBUS_DELIVERY_OUTCOME_H
#define POSTBUS_DELIVERY_OUTCOME_H

#include "libcommon/codec/envelope.h"
#include "services/delivery/transaction/retry.h"

/* The connection over which a server accepted a recipient. */
struct peer {
    char ip[64], tls_version[16], tls_cipher[64], tls_verified[8]; /* tls_version, tls_cipher: empty in
                                                                      plain text */
    int port;
};

struct outcome {
    enum outcome_kind { OUTCOME_DELIVERED, OUTCOME_SENT, OUTCOME_DEFERRED, OUTCOME_BOUNCED } kind;
    int code;                /* SMTP reply code, or 0 */
    const char *enhanced;    /* "4.4.1" */
    const char *reason;      /* in words; the peer's reply if there is one */
    const char *host;        /* the peer, "" for local */
    int64_t retry_ms;        /* OUTCOME_DEFERRED: pause from now; 0: by the schedule of attempts */
    bool not_counted;        /* OUTCOME_DEFERRED: no attempt was made: a fault of this site, or a next
                                hop that pauses */
    bool dsn_passed_on;      /* the next server will send the reports (RFC 3461 §5.2.2) */
    const struct peer *peer; /* OUTCOME_SENT: the connection, for the event; may be NULL, not owned */
};

/* The recipient's state after this outcome, and the report that is owed with it, in the envelope's
 * arena. A deferral beyond the message's lifetime is a failure (RFC 5321 §4.5.4.1). random: for the
 * jitter of the pause. */
void outcome_apply(struct envelope *e, size_t index, const struct outcome *o, const struct retry_policy *policy,
                   int64_t now_ms, uint32_t random);
/* Whether nothing more happens to the recipient. */
bool outcome_is_final(enum rcpt_state state);
/* What the recipient's NOTIFY (RFC 3461 §4.1; default: failure and delay) asks for after this
 * outcome. */
enum rcpt_report outcome_report(const struct envelope_rcpt *r, const struct outcome *o, int64_t age_ms,
                                const struct retry_policy *policy);

#endif
