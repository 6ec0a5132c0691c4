/* REPLACE and UID REPLACE (RFC 8508): a message is appended and another one removed, in one step. */
#include "services/imapd/command/append.h"

struct replace_job {
    struct append append;
    uint32_t uid, folder_id;
};

static void on_replaced(void *ctx, int error, uint32_t uidvalidity, size_t count, const uint32_t uids[],
                        uint64_t replaced_modseq) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct replace_job *job = s->job;
    if (error == STORE_CONFLICT) {
        session_no(s, "[EXPUNGEISSUED] The message that is to be replaced no longer exists");
        return;
    }
    if (error || !count) {
        session_no_store(s, error ? error : STORE_UNAVAILABLE);
        return;
    }
    publish_changed(s, job->folder_id, 0, "delivered");
    publish_changed(s, s->view.folder_id, replaced_modseq, "expunged");
    session_untagged(s, "OK [APPENDUID %u %u] Replacement stored\r\n", uidvalidity, uids[0]); /* RFC 8508 §4.3 */
    session_ok(s, "REPLACE done");
}

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct replace_job *job = s->job;
    const struct mailbox_folder *folder = session_folder(s, error, count, folders, job->append.name, "TRYCREATE");
    if (!folder) return;
    job->folder_id = folder->id;
    session_wait(s);
    mailbox_append_all(session_redis(s), session_user(s), job->folder_id, 1, job->append.messages, s->view.folder_id,
                       job->uid, on_replaced, s);
}

/* A number or "*" (RFC 8508 §5), and the message that it means. 0; -1: bad syntax; -2: there is no
 * such message. */
static int take_number(struct session *s, struct parser *p, uint32_t *uid) {
    uint32_t n, *uids;
    size_t count;
    struct parser number = *p;
    if (!parse_char(&number, '*') && !(parse_u32(&number, &n) && n)) return -1;
    if (parse_peek(&number) != ' ') return -1;
    int result = command_set(s, p, &uids, &count);
    if (result == 0 && count != 1) return -2;
    if (result == 0) *uid = uids[0];
    return result;
}

void cmd_replace(struct session *s, struct parser *p) {
    struct replace_job *job = arena_alloc(s->arena, sizeof *job);
    s->job = job;
    int number = parse_space(p) ? take_number(s, p, &job->uid) : -1;
    if (number == -2 && !s->by_uid) {
        session_bad(s, "No such message");
    } else if (number == -1 || !append_parse(s, p, &job->append) || (job->append.count > 1 || job->append.many)) {
        session_bad(s, "REPLACE requires a message, a mailbox, optional flags and date, and one message");
    } else if (number) {
        session_no(s, "[NONEXISTENT] No such message");
    } else if (s->view.read_only) {
        session_no(s, "[READ-ONLY] The mailbox is selected read-only");
    } else if (!append_refused(s, &job->append)) {
        session_wait(s);
        mailbox_folder_find(session_redis(s), session_user(s), job->append.name, on_folders, s);
    }
}
