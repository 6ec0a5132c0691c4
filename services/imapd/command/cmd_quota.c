/* GETQUOTA and GETQUOTAROOT (RFC 9208): one root for all of a user's mail, named "". */
#include "services/imapd/imapd.h"
#include "services/imapd/write.h"

static void on_stat(void *ctx, int error, const struct mailbox_stat *stat) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    if (error) {
        session_no_store(s, error);
        return;
    }
    struct slice *name = s->job;
    if (name) {
        buf_add_str(&s->out, "* QUOTAROOT ");
        name_to_client(s, *name);
        buf_add_str(&s->out, stat->quota_bytes ? " \"\"\r\n" : "\r\n");
    }
    if (stat->quota_bytes) /* in units of 1024 bytes (RFC 9208 §5.1) */
        session_untagged(s, "QUOTA \"\" (STORAGE %llu %llu)\r\n", (unsigned long long)((stat->bytes + 1023) / 1024),
                         (unsigned long long)(stat->quota_bytes / 1024));
    else if (!name)
        session_untagged(s, "QUOTA \"\" ()\r\n");
    session_ok(s, "%.*s done", SLICE_FMT(s->name));
}

void cmd_getquota(struct session *s, struct parser *p) {
    struct slice root;
    if (!parse_space(p) || !parse_astring(p, &root) || !parse_end(p)) {
        session_bad(s, "GETQUOTA requires a quota root");
        return;
    }
    if (root.n) {
        session_no(s, "[NONEXISTENT] No such quota root");
        return;
    }
    session_wait(s);
    mailbox_stat(session_redis(s), session_user(s), on_stat, s);
}

void cmd_getquotaroot(struct session *s, struct parser *p) {
    struct slice wire, *name = arena_alloc(s->arena, sizeof *name);
    s->job = name;
    if (!parse_space(p) || !parse_astring(p, &wire) || !parse_end(p)) {
        session_bad(s, "GETQUOTAROOT requires a mailbox");
        return;
    }
    if (!name_from_client(s, wire, name)) {
        session_no(s, "[NONEXISTENT] No such mailbox");
        return;
    }
    session_wait(s);
    mailbox_stat(session_redis(s), session_user(s), on_stat, s);
}
