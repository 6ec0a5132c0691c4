/* APPEND (RFC 9051 §6.3.12) with MULTIAPPEND (RFC 3502) and UIDPLUS (RFC 4315). Messages are the
 * command's literals, and are stored byte for byte; all of them or none. */
#include <stdio.h>

#include "libcommon/base/clock.h"
#include "services/imapd/command/append.h"

/* "UTF8 (~{n}…)" (RFC 6855 §4) or a literal. */
static bool take_message(struct parser *p, struct slice *message) {
    if (!parse_word(p, "UTF8")) return parse_literal(p, message);
    return parse_space(p) && parse_char(p, '(') && parse_literal(p, message) && parse_char(p, ')');
}

static bool take_one(struct parser *p, struct mailbox_new *m) {
    struct flag_list flags = {0};
    m->date = clock_wall_ms() / 1000;
    if (!parse_space(p)) return false;
    if (parse_peek(p) == '(' && (!parse_flag_list(p, &flags) || !parse_space(p))) return false;
    if (parse_peek(p) == '"' && (!parse_date_time(p, &m->date) || !parse_space(p))) return false;
    m->flags = flags.system;
    m->keyword_count = flags.keyword_count;
    m->keywords = flags.keywords;
    return take_message(p, &m->message);
}

bool append_parse(struct session *s, struct parser *p, struct append *a) {
    struct slice wire;
    if (!parse_space(p) || !parse_astring(p, &wire)) return false;
    a->bad_name = !name_from_client(s, wire, &a->name);
    do {
        struct mailbox_new one = {0};
        if (!take_one(p, &one)) return false;
        a->empty = a->empty || !one.message.n;
        a->many = a->count == MAILBOX_APPEND_MAX;
        if (a->many) return true;
        a->messages[a->count++] = one;
    } while (!parse_end(p));
    return true;
}

bool append_refused(struct session *s, const struct append *a) {
    bool refused = a->bad_name || a->many || a->empty; /* the answer frees a */
    if (a->bad_name)
        session_no(s, "[TRYCREATE] No such mailbox");
    else if (a->many)
        session_no(s, "[LIMIT] At most %d messages in one command", MAILBOX_APPEND_MAX);
    else if (a->empty)
        session_no(s, "[CANNOT] The message is empty"); /* RFC 3502 §6.3.11: this cancels the command */
    return refused;
}

struct append_job {
    struct append append;
    uint32_t folder_id;
};

static void on_appended(void *ctx, int error, uint32_t uidvalidity, size_t count, const uint32_t uids[],
                        uint64_t replaced_modseq) {
    struct session *s = ctx;
    (void)replaced_modseq;
    if (!session_resume(s)) return;
    struct append_job *job = s->job;
    if (error) {
        session_no_store(s, error);
        return;
    }
    struct buf set = {0};
    set_write(&set, count, uids);
    publish_changed(s, job->folder_id, 0, "delivered");
    session_ok(s, "[APPENDUID %u %s] APPEND done", uidvalidity, buf_str(&set));
    buf_free(&set);
}

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct append_job *job = s->job;
    const struct mailbox_folder *folder = session_folder(s, error, count, folders, job->append.name, "TRYCREATE");
    if (!folder) return;
    job->folder_id = folder->id;
    session_wait(s);
    mailbox_append_all(session_redis(s), session_user(s), job->folder_id, job->append.count, job->append.messages, 0, 0,
                       on_appended, s);
}

void cmd_append(struct session *s, struct parser *p) {
    struct append_job *job = arena_alloc(s->arena, sizeof *job);
    s->job = job;
    if (!append_parse(s, p, &job->append)) {
        session_bad(s, "APPEND requires a mailbox and messages, each with optional flags and date");
        return;
    }
    if (append_refused(s, &job->append)) return;
    session_wait(s);
    mailbox_folder_find(session_redis(s), session_user(s), job->append.name, on_folders, s);
}
