/* Address lists in From, To, Cc … (RFC 5322 §3.4 with the obsolete forms of §4.4, RFC 6531 UTF-8,
 * RFC 6854 groups). Pure.
 *
 * Tolerates malformed lists: an entry that is not an address becomes one without a domain. Comments
 * are skipped; a comment after an address without a display name is taken as its name
 * ("bob@example.org (Bob)"). */
#ifndef POSTBUS_MAIL_ADDRESS_H
#define POSTBUS_MAIL_ADDRESS_H

#include "libcommon/base/arena.h"

enum address_kind { ADDRESS_MAILBOX, ADDRESS_GROUP_BEGIN, ADDRESS_GROUP_END };

struct address {
    enum address_kind kind;
    struct slice name;   /* display name, a group's name; quotes removed, folds made spaces, encoded
                            words not decoded */
    struct slice route;  /* obsolete source route, "@a,@b"; mostly empty */
    struct slice local;  /* without quotes */
    struct slice domain; /* as written, without comments and white space; empty when there is
                            none */
};

/* Reads at most max entries of value and returns their number; *out lives in arena. */
size_t address_parse(struct arena *arena, struct slice value, size_t max, struct address **out);

#endif
