/* APPEND with UIDPLUS (RFC 9051 §6.3.12, RFC 4315). The message is the command's last literal, and
 * is stored byte for byte. */
#include <stdio.h>

#include "libcommon/base/clock.h"
#include "services/imapd/imapd.h"

struct append_job {
    struct slice name, message;
    struct flag_list flags;
    int64_t date;
    uint32_t folder_id;
};

static void on_appended(void *ctx, int error, uint32_t uidvalidity, uint32_t uid) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct append_job *job = s->job;
    if (error) {
        session_no_store(s, error);
        return;
    }
    publish_changed(s, job->folder_id, 0, "delivered");
    session_ok(s, "[APPENDUID %u %u] APPEND done", uidvalidity, uid);
}

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct append_job *job = s->job;
    const struct mailbox_folder *folder = session_folder(s, error, count, folders, job->name, "TRYCREATE");
    if (!folder) return;
    job->folder_id = folder->id;
    session_wait(s);
    mailbox_append(session_redis(s), session_user(s), job->folder_id, job->message, job->flags.system,
                   job->flags.keyword_count, job->flags.keywords, job->date, on_appended, s);
}

/* "UTF8 (~{n}…)" (RFC 6855 §4) or a literal. */
static bool take_message(struct parser *p, struct slice *message) {
    if (!parse_word(p, "UTF8")) return parse_literal(p, message);
    return parse_space(p) && parse_char(p, '(') && parse_literal(p, message) && parse_char(p, ')');
}

void cmd_append(struct session *s, struct parser *p) {
    struct append_job *job = arena_alloc(s->arena, sizeof *job);
    struct slice wire;
    s->job = job;
    job->date = clock_wall_ms() / 1000;
    bool ok = parse_space(p) && parse_astring(p, &wire) && parse_space(p);
    if (ok && parse_peek(p) == '(') ok = parse_flag_list(p, &job->flags) && parse_space(p);
    if (ok && parse_peek(p) == '"') ok = parse_date_time(p, &job->date) && parse_space(p);
    if (!ok || !take_message(p, &job->message) || !parse_end(p)) {
        session_bad(s, "APPEND requires a mailbox, optional flags and date, and one message");
        return;
    }
    if (!name_from_client(s, wire, &job->name)) {
        session_no(s, "[TRYCREATE] No such mailbox");
        return;
    }
    if (!job->message.n) {
        session_no(s, "[CANNOT] The message is empty");
        return;
    }
    session_wait(s);
    mailbox_folder_find(session_redis(s), session_user(s), job->name, on_folders, s);
}
