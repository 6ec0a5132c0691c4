/* Threads of messages (RFC 5256 §3 BASE.6.4.THREAD). Pure; no recursion, whatever the messages
 * refer to. */
#ifndef POSTBUS_IMAPD_THREAD_H
#define POSTBUS_IMAPD_THREAD_H

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"

enum thread_algorithm {
    THREAD_ORDERED_SUBJECT,
    THREAD_REFERENCES,
    /* As REFERENCES, without the gathering by subject; threads are in the order of their newest
     * message, by INTERNALDATE (draft-ietf-morg-inthread). */
    THREAD_REFS,
};

struct thread_message {
    uint32_t number;       /* as it is written: uid or sequence number */
    int64_t sent, arrival; /* sent date (RFC 5256 §2.2) and INTERNALDATE */
    struct slice subject;  /* base subject in the form for comparison (casemap.h) */
    bool reply;            /* or forward */
    struct slice id;       /* normalized Message-ID, empty: none */
    size_t reference_count;
    struct slice *references; /* normalized, from the oldest ancestor to the parent */
};

/* Reads the message's fields; the slices are in arena. number, sent and arrival are the caller's. */
void thread_read_message(struct arena *arena, struct slice header, struct thread_message *m);

/* Adds the threads of messages, which are in mailbox order, to out: "(1)(2 3 (4)(5))". arena:
 * working memory. */
void thread_write(struct arena *arena, enum thread_algorithm algorithm, size_t count,
                  const struct thread_message messages[], struct buf *out);

/* The next message id in value, from *at on: normalized, without "<" and ">", quotes removed.
 * False: there is no further one. */
bool thread_next_id(struct arena *arena, struct slice value, size_t *at, struct slice *id);

#endif
