/* CREATE (with USE, RFC 6154 §3), DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE. */
#include "services/imapd/imapd.h"

static void end(struct session *s, int error) {
    if (error) {
        session_no_store(s, error);
        return;
    }
    publish_changed(s, 0, 0, "folders");
    session_ok(s, "%.*s done", SLICE_FMT(s->name));
}

static void on_done(void *ctx, int error) {
    struct session *s = ctx;
    if (session_resume(s)) end(s, error);
}

static void on_created(void *ctx, int error, uint32_t folder_id, uint32_t uidvalidity) {
    struct session *s = ctx;
    char id[MAILBOX_OBJECT_ID_MAX];
    (void)uidvalidity;
    if (!session_resume(s)) return;
    if (error) {
        session_no_store(s, error);
        return;
    }
    publish_changed(s, 0, 0, "folders");
    session_ok(s, "[MAILBOXID (%.*s)] CREATE done", /* RFC 8474 §4.1 */
               SLICE_FMT(mailbox_folder_object_id(session_user(s), folder_id, id)));
}

/* Reads one mailbox name without further arguments; answers the client on an error. */
static bool take_name(struct session *s, struct parser *p, bool last, struct slice *name) {
    struct slice wire;
    if (!parse_space(p) || !parse_astring(p, &wire) || (last && !parse_end(p))) {
        session_bad(s, "A mailbox name is required");
        return false;
    }
    if (!name_from_client(s, wire, name) || !name->n) {
        session_no(s, "[CANNOT] Invalid mailbox name");
        return false;
    }
    return true;
}

void cmd_create(struct session *s, struct parser *p) {
    struct slice name, use = {"", 0}, flag;
    if (!take_name(s, p, false, &name)) return;
    if (parse_space(p)) {
        bool ok = parse_char(p, '(') && parse_word(p, "USE") && parse_space(p) && parse_char(p, '(');
        if (ok && parse_flag(p, &flag)) {
            use = special_use_of(flag);
            if (!use.n || !parse_char(p, ')')) {
                session_no(s, "[USEATTR] Special use not supported");
                return;
            }
        } else {
            ok = ok && parse_char(p, ')');
        }
        if (!ok || !parse_char(p, ')')) {
            session_bad(s, "CREATE requires a mailbox name and accepts (USE (…))");
            return;
        }
    }
    if (!parse_end(p)) {
        session_bad(s, "CREATE requires a mailbox name");
        return;
    }
    session_wait(s);
    mailbox_folder_create(session_redis(s), session_user(s), name, use, on_created, s);
}

static void on_deleted(void *ctx, int error) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    if (error == STORE_CONFLICT)
        session_no(s, "[HASCHILDREN] The mailbox has mailboxes below it"); /* RFC 9051 §6.3.5 */
    else
        end(s, error);
}

void cmd_delete(struct session *s, struct parser *p) {
    struct slice name;
    if (!take_name(s, p, true, &name)) return;
    session_wait(s);
    mailbox_folder_delete(session_redis(s), session_user(s), name, on_deleted, s);
}

void cmd_rename(struct session *s, struct parser *p) {
    struct slice from, to;
    if (!take_name(s, p, false, &from) || !take_name(s, p, true, &to)) return;
    session_wait(s);
    mailbox_folder_rename(session_redis(s), session_user(s), from, to, on_done, s);
}

static void subscribe(struct session *s, struct parser *p, bool subscribed) {
    struct slice name;
    if (!take_name(s, p, true, &name)) return;
    session_wait(s);
    mailbox_folder_subscribe(session_redis(s), session_user(s), name, subscribed, on_done, s);
}

void cmd_subscribe(struct session *s, struct parser *p) { subscribe(s, p, true); }
void cmd_unsubscribe(struct session *s, struct parser *p) { subscribe(s, p, false); }
