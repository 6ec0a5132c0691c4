/* The lock of a user's maildrop, which one POP3 session at a time holds (RFC 1939 §4): a lease
 * (lease.h) with the key {u:<id>}:pop3. Delivery and IMAP go on meanwhile. */
#ifndef POSTBUS_STORE_MAILBOX_LOCK_H
#define POSTBUS_STORE_MAILBOX_LOCK_H

#include "libcommon/store/lease.h"

/* As lease_acquire, lease_extend and lease_release. */
void mailbox_lock(struct redis *r, struct slice user, const char *token, int64_t ms, lease_done_fn *done, void *ctx);
void mailbox_lock_extend(struct redis *r, struct slice user, const char *token, int64_t ms, lease_done_fn *done,
                         void *ctx);
void mailbox_unlock(struct redis *r, struct slice user, const char *token);

#endif
