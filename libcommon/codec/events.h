/* The data of the events of every message (proto-schemas/events): written for bus_publish_text,
 * read for bus_hear_raw and bus_subscribe_raw. Pure. Writers add to out and return false when a
 * text is not UTF-8. */
#ifndef POSTBUS_CODEC_EVENTS_H
#define POSTBUS_CODEC_EVENTS_H

#include "libcommon/base/json.h"

struct mail_event_rcpt {
    struct slice address, user, from; /* user, from: {NULL, 0} when it has none */
    struct slice folder;              /* where the message is already; {NULL, 0}: not in a mailbox
                                         yet */
    int64_t uid, modseq;              /* with folder */
};

/* The connected client. */
struct mail_event_client {
    struct slice ip, helo, protocol, tls, cipher, login; /* tls, cipher, login: left out when
                                                            empty */
    int port;
};

/* mail.accepted */
struct mail_accepted {
    bool queued;   /* or it is in the mailboxes already */
    int64_t shard; /* of the queue; -1: none */
    struct slice from, message_id, origin, reply, sealed;
    uint64_t size;
    const struct mail_event_client *client; /* NULL: none */
    struct slice verdict;                   /* JSON (verify_reply.proofs); empty: none */
    size_t rcpt_count;
    const struct mail_event_rcpt *rcpts;
};
bool mail_accepted_write(const struct mail_accepted *e, struct buf *out);

/* mail.refused: after DATA, code 4xx or 5xx */
struct mail_refused {
    struct slice from, enhanced, reason;
    int code;
    const struct mail_event_client *client; /* NULL: none */
    struct slice verdict;                   /* as above */
    size_t rcpt_count;
    const struct mail_event_rcpt *rcpts;
};
bool mail_refused_write(const struct mail_refused *e, struct buf *out);

/* mail.sent: another server accepted it */
struct mail_sent {
    struct slice rcpt, from; /* from: {NULL, 0} where it is the message's own */
    struct slice domain, host, ip, tls, cipher, tls_verified, enhanced, reply;
    int port, code;
};
bool mail_sent_write(const struct mail_sent *e, struct buf *out);

/* mail.delivered: a message of the queue is in a mailbox (of direct deliveries mail.accepted
 * tells) */
struct mail_delivered {
    struct slice rcpt, user, folder;
    int64_t uid, modseq;
};
bool mail_delivered_write(const struct mail_delivered *e, struct buf *out);

/* mailbox.changed: kind is "delivered", "flags", "expunged" or "folders". */
struct mailbox_changed {
    struct slice user, kind;
    int64_t folder, modseq;
};
bool mailbox_changed_write(const struct mailbox_changed *e, struct buf *out);
/* event: the whole CloudEvent. NULL, or its fault; texts are in the arena. */
const char *mailbox_changed_read(struct arena *arena, struct slice event, struct mailbox_changed *out);
/* Only the folder and the modseq; 0, which means all folders, and not known, when the event cannot be
 * read. */
int64_t mailbox_changed_folder(struct slice event, uint64_t *modseq);

#endif
