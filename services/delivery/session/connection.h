/* The state of a session; private to its files. */
#ifndef POSTBUS_DELIVERY_CONNECTION_H
#define POSTBUS_DELIVERY_CONNECTION_H

#include "libcommon/net/stream.h"
#include "services/delivery/session/reply.h"
#include "services/delivery/session/settings.h"
#include "services/delivery/session/stuffing.h"
#include "services/delivery/transaction/transaction.h"

enum phase { GREETING, EHLO, HELO, STARTTLS, HANDSHAKE, IDLE, RSET, MAIL, RCPT, DATA_WAIT, DATA, BODY, FINAL, CLOSED };

struct rcpt_answer {
    int code;
    char enhanced[16];
    char *text; /* for people; NULL: not answered */
};

struct session {
    struct session_settings set;
    struct life life;
    struct stream *stream;
    enum phase phase;
    struct smtp_reply reply;
    char host[256], ip[64];

    bool pipelining, eight_bit, size, dsn, smtputf8, starttls, requiretls;
    size_t size_max, rcpt_max, mail_max, transactions, answered;
    struct smtp_result result;
    char tls_version[16], tls_cipher[64], tls_verified[8], local_ip[64], peer_name[256], why[600];

    /* flags of the stream's callback for the next run */
    bool tls_ready, lost, timed_out, readable;

    struct transaction *transaction, *left_over;
    struct rcpt_answer *answers;
    size_t rcpt_at, rcpt_good, no_room_from; /* no_room_from: the first recipient that was refused
                                                with 452 */
    bool data_sent, rset_owed, mail_refused, used_before, empty_data, broke;
    struct body_use body;
    struct stuffing stuffing;
    size_t sent; /* of the body */
    bool body_whole;
};

void session_wake_owner(struct session *s);
/* The connection can be used for a transaction. */
void session_idle(struct session *s);
/* Closes after all output was sent. why: for the outcomes. */
void session_close(struct session *s, const char *why);
/* Closes at once. */
void session_cut(struct session *s);

#endif
