/* mailbox.deliver: a request has messages, a message has recipients, and each recipient has its own
 * result. */
#ifndef POSTBUS_MAILBOX_DELIVER_H
#define POSTBUS_MAILBOX_DELIVER_H

#include "services/mailbox/mailbox_service.h"

enum { DELIVER_MESSAGES_MAX = 64, DELIVER_RCPTS_MAX = 1000, DELIVER_BYTES_MAX = 700 * 1024 };

struct deliver_rcpt {
    struct slice rcpt, user;
    int error; /* 0 or enum store_error; then `message` has the details */
    const char *message;
    struct slice folder;
    uint32_t folder_id, uid;
    uint64_t modseq;
    bool duplicate;
};

struct deliver_message {
    struct deliver_request *request;
    struct slice id, from, folder, attempt;
    uint64_t size; /* bytes of the body */
    int64_t date;
    bool held; /* the requester has added the references to the blob */
    struct slice listing;
    size_t count;
    struct deliver_rcpt *rcpts;
    struct deliver_rcpt **order; /* recipients without an error, by user */
    size_t order_count;
    struct window_step reading;
    size_t waiting; /* answers of the store that are pending before the next step */
};

/* Everything lives in the arena. */
struct deliver_request {
    struct mailbox_worker *m;
    struct bus_call *call;
    struct arena *arena;
    size_t bytes, count, rcpt_count;
    struct deliver_message *messages;
    size_t waiting;                          /* messages that are not complete */
    void (*done)(struct deliver_message *d); /* called once for each message */
};

/* Reads a request's JSON text into r (arena set). NULL, or its fault. If a recipient or a message
 * cannot be delivered, the others are not refused: such recipients have their `error` set. */
const char *deliver_read(struct deliver_request *r, struct slice text);
/* Adds the reply. */
void deliver_write(const struct deliver_request *r, struct buf *out);
/* The word for an outcome: "delivered", "over_quota", … */
const char *deliver_result(int error);

/* Delivers one message to those of its recipients that have no error yet; then its request's
 * `done`. */
void deliver_message(struct deliver_message *d);

#endif
