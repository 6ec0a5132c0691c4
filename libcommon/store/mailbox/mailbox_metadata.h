/* Annotations of a mailbox's folders, and of the server for this user (RFC 5464). Entries are names
 * such as "/private/comment" in lower case. Kept in {u:<user>}:a (mailbox_metadata.lua): at most 100
 * for a folder, 1,000 and 1 MiB for a user. They are renamed and deleted with their folder. */
#ifndef POSTBUS_STORE_MAILBOX_METADATA_H
#define POSTBUS_STORE_MAILBOX_METADATA_H

#include "libcommon/store/mailbox.h"

enum { METADATA_AT_ONCE_MAX = 100, METADATA_SERVER = 0 };

struct metadata_entry {
    uint32_t folder_id; /* METADATA_SERVER: of the server */
    struct slice name, value;
    bool removed; /* of metadata_set: there is no value */
};

/* Sets or removes at most METADATA_AT_ONCE_MAX entries of a folder, all or none; their folder_id is
 * not used. STORE_LIMIT: too many; STORE_NOT_FOUND: the folder does not exist. */
void metadata_set(struct redis *r, struct slice user, uint32_t folder_id, size_t count,
                  const struct metadata_entry entries[], mailbox_done_fn *done, void *ctx);

/* The entries with these names that have a value; and those below them: depth 1, or -1 for any
 * depth. At most METADATA_AT_ONCE_MAX names. Valid during the call. */
typedef void metadata_fn(void *ctx, int error, size_t count, const struct metadata_entry entries[]);
void metadata_get(struct redis *r, struct slice user, uint32_t folder_id, int depth, size_t count,
                  const struct slice names[], metadata_fn *done, void *ctx);
/* The same of all folders, depth 0, in no particular order. */
void metadata_get_all(struct redis *r, struct slice user, size_t count, const struct slice names[], metadata_fn *done,
                      void *ctx);

#endif
