/* GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208): one root for all of a user's mail, named "". Its
 * limit is set by administrators, through their API, and by no user. */
#include "services/imapd/imapd.h"
#include "services/imapd/write.h"

static void write_quota(struct session *s, const struct mailbox_stat *stat) {
    if (stat->quota_bytes) /* in units of 1024 bytes (RFC 9208 §5.1) */
        session_untagged(s, "QUOTA \"\" (STORAGE %llu %llu)\r\n", (unsigned long long)((stat->bytes + 1023) / 1024),
                         (unsigned long long)(stat->quota_bytes / 1024));
    else
        session_untagged(s, "QUOTA \"\" ()\r\n");
}

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
    if (stat->quota_bytes || !name) write_quota(s, stat);
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

static void on_refused(void *ctx, int error, const struct mailbox_stat *stat) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    if (!error) write_quota(s, stat); /* as it stays (RFC 9208 §4.1.3) */
    session_no(s, "[NOPERM] Quotas are set by the administrators");
}

void cmd_setquota(struct session *s, struct parser *p) {
    struct slice root, resource;
    uint64_t limit;
    bool ok = parse_space(p) && parse_astring(p, &root) && parse_space(p) && parse_char(p, '(');
    if (ok && !parse_char(p, ')')) {
        do ok = parse_atom(p, &resource) && parse_space(p) && parse_u64(p, &limit);
        while (ok && parse_space(p));
        ok = ok && parse_char(p, ')');
    }
    if (!ok || !parse_end(p)) {
        session_bad(s, "SETQUOTA requires a quota root and a list of limits");
        return;
    }
    if (root.n) {
        session_no(s, "[NONEXISTENT] No such quota root");
        return;
    }
    session_wait(s);
    mailbox_stat(session_redis(s), session_user(s), on_refused, s);
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
