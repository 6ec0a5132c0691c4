/* Shared declarations of the files of a session; private to them. */
#ifndef POSTBUS_DELIVERY_SESSION_PRIVATE_H
#define POSTBUS_DELIVERY_SESSION_PRIVATE_H

#include "services/delivery/session/session.h"

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

/* session.c */
void session_close(struct session *s, const char *why);
void session_lost(struct session *s, const char *what);
void session_idle(struct session *s);
void session_wake_owner(struct session *s);
/* session_mail.c: a reply, the body's arrival, or room in the stream, during a transaction. */
void mail_start(struct session *s);
void mail_on_reply(struct session *s);
void mail_go_on(struct session *s);
/* The connection was lost for this reason: settles the recipients that can be settled. */
void mail_on_lost(struct session *s, const char *why);

#endif
