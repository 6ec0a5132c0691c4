/* accounts.resolve in its JSON form (proto-schemas/rpc). Pure. Writers and readers as in
 * verify.h. */
#ifndef POSTBUS_CODEC_RESOLVE_H
#define POSTBUS_CODEC_RESOLVE_H

#include "libcommon/base/json.h"

enum resolve_kind {
    RESOLVE_UNKNOWN, /* the domain is hosted here, the address does not exist */
    RESOLVE_REMOTE,  /* the domain is not hosted here */
    RESOLVE_LOCAL,
};

struct resolve_user {
    struct slice user, address; /* the account's id, or "reporter"; NUL-terminated */
};

struct resolve_reply {
    enum resolve_kind kind;
    size_t user_count, remote_count; /* RESOLVE_LOCAL, aliases expanded */
    struct resolve_user *users;
    struct slice *remotes; /* addresses at other sites to which an alias leads; NUL-terminated */
};

bool resolve_ask_write(struct slice address, struct buf *out);
const char *resolve_ask_read(struct arena *arena, struct slice text, struct slice *address);
bool resolve_reply_write(const struct resolve_reply *r, struct buf *out);
const char *resolve_reply_read(struct arena *arena, struct slice text, struct resolve_reply *out);

#endif
