/* STORE (RFC 9051 §6.4.6) with UNCHANGEDSINCE (RFC 7162 §3.1.3). */
#include "services/imapd/imapd.h"

struct to_tell {
    uint32_t uid;
    bool flags; /* or only the mod-sequence */
};

struct store_job {
    bool silent;
    enum mailbox_store_how how;
    uint64_t unchanged_since;
    bool conditional;
    struct flag_list flags;
    struct to_tell *tell;
    size_t tell_count, told;
    const char *code; /* of the response */
};

static void write_modified(struct session *s, struct buf *out, size_t count, const uint32_t refused[]) {
    uint32_t *numbers = arena_alloc(s->arena, (count + 1) * sizeof *numbers);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct mailbox_record *r = view_find(&s->view, refused[i]);
        if (r) numbers[n++] = s->by_uid ? r->uid : (uint32_t)view_sequence(&s->view, r);
    }
    numbers_sort(n, numbers);
    if (!n) return;
    buf_add_str(out, "[MODIFIED ");
    set_write(out, n, numbers);
    buf_add_str(out, "] ");
}

/* The bits that the command names, as far as the view knows its keywords. */
static uint64_t bits_of(const struct view *v, const struct flag_list *flags) {
    uint64_t bits = flags->system;
    for (size_t i = 0; i < flags->keyword_count; i++)
        for (size_t k = 0; k < v->keyword_count; k++)
            if (slice_equal_nocase(flags->keywords[i], slice_of(v->keywords[k])))
                bits |= (uint64_t)1 << (MAILBOX_KEYWORD_SHIFT + k);
    return bits;
}

/* A record's flags after the change, if no other session changed them in the meantime. */
static uint64_t flags_expected(enum mailbox_store_how how, uint64_t bits, uint64_t before) {
    return how == MAILBOX_ADD ? before | bits : how == MAILBOX_REMOVE ? before & ~bits : bits;
}

static bool tell_step(struct session *s) {
    struct store_job *job = s->job;
    for (; job->told < job->tell_count && s->out.n < LIMIT_STEP_OUTPUT; job->told++) {
        const struct to_tell *t = &job->tell[job->told];
        const struct mailbox_record *r = view_find(&s->view, t->uid);
        if (!r) continue;
        if (t->flags)
            tell_flags(s, r);
        else /* SILENT still reports the mod-sequence (RFC 7162 §3.1.3) */
            buf_printf(&s->out, "%sMODSEQ (%llu))\r\n", write_fetch_start(s, view_sequence(&s->view, r), r->uid, true),
                       (unsigned long long)r->modseq);
    }
    return job->told == job->tell_count;
}

static void end(struct session *s) {
    const struct store_job *job = s->job;
    session_ok_quietly(s, "%sSTORE done", job->code);
}

/* What is to be told of the changed messages. Another session's change that came with this one is
 * told also when the client asked for silence. Those with a new keyword are told by the check for
 * changes at the end of the command, which reads its name. */
static void plan(struct session *s, uint32_t generation, size_t count, const struct mailbox_record changed[]) {
    struct store_job *job = s->job;
    uint64_t bits = bits_of(&s->view, &job->flags);
    job->tell = arena_alloc(s->arena, (count + 1) * sizeof *job->tell);
    for (size_t i = 0; i < count; i++) {
        const struct mailbox_record *r = view_find(&s->view, changed[i].uid);
        if (!r || !view_knows_flags(&s->view, generation, changed[i].flags)) continue;
        bool flags = !job->silent || changed[i].flags != flags_expected(job->how, bits, r->flags);
        if (flags || s->condstore) job->tell[job->tell_count++] = (struct to_tell){changed[i].uid, flags};
    }
}

static void on_stored(void *ctx, int error, uint32_t generation, size_t changed_count,
                      const struct mailbox_record changed[], size_t refused_count, const uint32_t refused[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct store_job *job = s->job;
    if (error) {
        session_no_store(s, error);
        return;
    }
    uint64_t modseq = 0;
    for (size_t i = 0; i < changed_count; i++)
        if (changed[i].modseq > modseq) modseq = changed[i].modseq;
    plan(s, generation, changed_count, changed);
    view_learn(&s->view, generation, changed_count, changed);
    if (changed_count) publish_changed(s, s->view.folder_id, modseq, "flags");
    struct buf code = {0};
    write_modified(s, &code, refused_count, refused);
    job->code = arena_copy(s->arena, buf_slice(&code));
    buf_free(&code);
    session_steps(s, tell_step, end);
}

static bool parse_action(struct parser *p, struct store_job *job) {
    struct slice word;
    bool plus = parse_char(p, '+'), minus = !plus && parse_char(p, '-');
    if (!parse_atom(p, &word)) return false;
    job->how = plus ? MAILBOX_ADD : minus ? MAILBOX_REMOVE : MAILBOX_REPLACE;
    job->silent = slice_is_nocase(word, "FLAGS.SILENT");
    return (job->silent || slice_is_nocase(word, "FLAGS")) && parse_space(p) && parse_flag_list(p, &job->flags);
}

static bool parse_modifier(struct parser *p, struct store_job *job) {
    job->conditional = true;
    return parse_word(p, "UNCHANGEDSINCE") && parse_space(p) && parse_u64(p, &job->unchanged_since) &&
           parse_char(p, ')') && parse_space(p);
}

/* UNCHANGEDSINCE 0 fails for all existing messages (RFC 7162 §3.1.3). */
static void refuse_all(struct session *s, size_t count, const uint32_t uids[]) {
    struct buf code = {0};
    write_modified(s, &code, count, uids);
    session_ok_quietly(s, "%sSTORE done", buf_str(&code));
    buf_free(&code);
}

void cmd_store(struct session *s, struct parser *p) {
    struct store_job *job = arena_alloc(s->arena, sizeof *job);
    uint32_t *uids;
    size_t count;
    s->job = job;
    int set = parse_space(p) ? command_set(s, p, &uids, &count) : -1;
    if (set == -2) {
        session_bad(s, "No such message");
        return;
    }
    if (set || !parse_space(p) || (parse_char(p, '(') && !parse_modifier(p, job)) || !parse_action(p, job) ||
        !parse_end(p)) {
        session_bad(s, "STORE requires a message set, FLAGS, +FLAGS or -FLAGS, and flags");
        return;
    }
    if (job->conditional) s->condstore = true;
    if (s->view.read_only) {
        session_no(s, "[READ-ONLY] The mailbox is selected read-only");
    } else if (!count) {
        session_ok_quietly(s, "STORE done");
    } else if (job->conditional && !job->unchanged_since) {
        refuse_all(s, count, uids);
    } else {
        session_wait(s);
        mailbox_store(session_redis(s), session_user(s), s->view.folder_id, count, uids, job->how, job->flags.system,
                      job->flags.keyword_count, job->flags.keywords, job->unchanged_since, on_stored, s);
    }
}
