/* COPY and MOVE (RFC 9051 §6.4.7, §6.4.8), with COPYUID (RFC 4315 §3). */
#include "services/imapd/imapd.h"

enum { TRIES = 12 }; /* a second apart: longer than the store waits for a copy that was begun (mailbox_copy) */

struct copy_job {
    bool move;
    int tries;
    uint32_t *uids;
    size_t count;
    struct slice name;
};

static void ask(struct session *s);

static void on_copied(void *ctx, int error, uint32_t to_uidvalidity, size_t count, const uint32_t from_uids[],
                      const uint32_t to_uids[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct copy_job *job = s->job;
    if (error == STORE_CONFLICT && ++job->tries < TRIES) { /* a repeated COPY of a process that was killed */
        session_in_a_second(s, ask);
        return;
    }
    if (error == STORE_NOT_FOUND) {
        session_no(s, "[TRYCREATE] No such mailbox");
        return;
    }
    if (error) {
        session_no_store(s, error);
        return;
    }
    if (!count) {
        session_ok(s, "%.*s done; no message matched", SLICE_FMT(s->name));
        return;
    }
    struct buf code = {0};
    buf_printf(&code, "[COPYUID %u ", to_uidvalidity);
    set_write(&code, count, from_uids);
    buf_add_char(&code, ' ');
    set_write(&code, count, to_uids);
    buf_add_char(&code, ']');
    publish_changed(s, 0, 0, "delivered");
    if (job->move) {
        publish_changed(s, s->view.folder_id, 0, "expunged");
        session_untagged(s, "OK %s Moved\r\n", buf_str(&code)); /* before the EXPUNGEs (RFC 9051 §6.4.8) */
        session_ok(s, "MOVE done");
    } else {
        session_ok(s, "%s COPY done", buf_str(&code));
    }
    buf_free(&code);
}

static void ask(struct session *s) {
    const struct copy_job *job = s->job;
    session_wait(s);
    mailbox_copy(session_redis(s), session_user(s), s->view.folder_id, job->count, job->uids, job->name, job->move,
                 on_copied, s);
}

static void copy(struct session *s, struct parser *p, bool move) {
    struct copy_job *job = arena_alloc(s->arena, sizeof *job);
    struct slice wire;
    s->job = job;
    job->move = move;
    int set = parse_space(p) ? command_set(s, p, &job->uids, &job->count) : -1;
    if (set == -2) {
        session_bad(s, "No such message");
        return;
    }
    if (set || !parse_space(p) || !parse_astring(p, &wire) || !parse_end(p)) {
        session_bad(s, "A message set and a mailbox are required");
        return;
    }
    if (move && s->view.read_only) {
        session_no(s, "[READ-ONLY] The mailbox is selected read-only");
        return;
    }
    if (!name_from_client(s, wire, &job->name)) {
        session_no(s, "[TRYCREATE] No such mailbox");
        return;
    }
    if (!job->count) {
        session_ok(s, "%.*s done; no message matched", SLICE_FMT(s->name));
        return;
    }
    ask(s);
}

void cmd_copy(struct session *s, struct parser *p) { copy(s, p, false); }
void cmd_move(struct session *s, struct parser *p) { copy(s, p, true); }
