/* STATUS items, also of LIST RETURN (STATUS (…)) (RFC 9051 §6.3.11, RFC 5819). */
#ifndef POSTBUS_IMAPD_STATUS_H
#define POSTBUS_IMAPD_STATUS_H

#include "services/imapd/imapd.h"

enum status_item {
    STATUS_MESSAGES = 1,
    STATUS_UIDNEXT = 2,
    STATUS_UIDVALIDITY = 4,
    STATUS_UNSEEN = 8,
    STATUS_RECENT = 16,
    STATUS_HIGHESTMODSEQ = 32,
    STATUS_SIZE = 64,
    STATUS_DELETED = 128,
    STATUS_MAILBOXID = 256, /* RFC 8474 §4.3 */
};
/* "(MESSAGES UNSEEN …)": the bits of the items, or 0 on a syntax error. */
unsigned parse_status_items(struct parser *p);
void write_status(struct session *s, const struct mailbox_folder *folder, unsigned items);

#endif
