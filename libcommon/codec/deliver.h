/* mailbox.deliver for its requesters (proto-schemas/rpc): many messages in one request, many
 * recipients for each message. Pure.
 *
 *   struct json_put j = deliver_ask_open(&out);
 *   deliver_ask_add(&j, &message); …
 *   deliver_ask_close(&j);
 *
 * A request has at most DELIVER_ASK_MESSAGES messages, DELIVER_ASK_RCPTS recipients and
 * DELIVER_ASK_BYTES bytes; the requester must respect this (deliver_ask_bytes). */
#ifndef POSTBUS_CODEC_DELIVER_H
#define POSTBUS_CODEC_DELIVER_H

#include "libcommon/base/json.h"

enum {
    DELIVER_ASK_MESSAGES = 64,
    DELIVER_ASK_RCPTS = 1000,
    DELIVER_ASK_BYTES = 700 * 1024,
    DELIVER_ASK_PREFIX = 16 * 1024 /* bytes of a message's prefix */
};

struct deliver_ask_rcpt {
    struct slice rcpt, user;
};

struct deliver_ask_message {
    struct slice id, from, folder, attempt;
    uint64_t size;        /* of the body */
    int64_t date;         /* seconds since 1970 */
    bool held;            /* the requester has added the references to the body */
    struct slice listing; /* mailbox_listing_build(); used when held; empty: computed from the
                             body */
    struct slice prefix;  /* header fields, each with CRLF, that the message has before its body;
                             empty: none */
    size_t count;
    const struct deliver_ask_rcpt *rcpts;
};

/* An upper bound of the bytes of this message in a request. */
size_t deliver_ask_bytes(const struct deliver_ask_message *m);
struct json_put deliver_ask_open(struct buf *out);
/* false: a text is not UTF-8, and nothing was added. */
bool deliver_ask_add(struct json_put *j, const struct deliver_ask_message *m);
void deliver_ask_close(struct json_put *j);

/* The result for one recipient. */
struct deliver_outcome {
    struct slice result;  /* "delivered", "over_quota", "not_found", "full", "invalid",
                             "unavailable"; NUL-terminated */
    struct slice message; /* the reason */
    struct slice folder;
    int64_t uid, modseq;
    bool duplicate;
};

struct deliver_reply_message {
    struct slice id;
    size_t count;
    struct deliver_outcome *rcpts; /* in the request's order */
};

struct deliver_reply {
    size_t count;
    struct deliver_reply_message *messages; /* in the request's order */
};

/* NULL, or the fault of the text; the results are in the arena. */
const char *deliver_reply_read(struct arena *arena, struct slice text, struct deliver_reply *out);

#endif
