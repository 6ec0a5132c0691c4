/* Which mailboxes ESEARCH and NOTIFY are about: filter-mailboxes of RFC 5465 §6 and RFC 7377 §2.2. */
#ifndef POSTBUS_IMAPD_MAILBOX_FILTER_H
#define POSTBUS_IMAPD_MAILBOX_FILTER_H

#include "services/imapd/imapd.h"

enum mailbox_filter_kind {
    FILTER_SELECTED,
    FILTER_SELECTED_DELAYED, /* only in NOTIFY */
    FILTER_INBOXES,          /* the same as FILTER_PERSONAL: mail may be delivered to any folder (RFC 5465 §6.3) */
    FILTER_PERSONAL,
    FILTER_SUBSCRIBED,
    FILTER_SUBTREE,
    FILTER_SUBTREE_ONE, /* only in ESEARCH */
    FILTER_MAILBOXES,
};

struct mailbox_filter {
    enum mailbox_filter_kind kind;
    size_t count; /* of names, for the last three kinds; at most LIMIT_FILTER_NAMES */
    struct slice *names;
};

/* Reads one filter; its names are in the session's arena, in the encoding of the store. Those that
 * are no names of mailboxes are left out. */
bool parse_mailbox_filter(struct session *s, struct parser *p, struct mailbox_filter *f);
/* Whether it means this folder; not for FILTER_SELECTED and FILTER_SELECTED_DELAYED. Pure. */
bool mailbox_filter_has(const struct mailbox_filter *f, struct slice name, bool subscribed);

#endif
