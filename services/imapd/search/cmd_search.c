/* SEARCH and UID SEARCH (RFC 9051 §6.4.4) with RETURN (RFC 4731, SAVE of RFC 5182). Flags, dates
 * and sizes are compared in the view, header fields in the store's cache, a batch at a time. Bodies
 * are read one by one, and only for messages that the other keys do not exclude. */
#include <stdlib.h>

#include "libcommon/mail/header.h"
#include "services/imapd/fetch/fetch.h"
#include "services/imapd/search/search.h"
#include "services/imapd/search/search_text.h"

struct search_job {
    struct search search;
    bool esearch, min, max, count, all, save;
    uint32_t *uids; /* candidates */
    size_t candidate_count, next, batch, batch_asked;
    size_t scanned; /* records of the view */
    /* the message whose text is searched, when that takes more than one turn of the loop */
    struct text_search *text;
    char *message;
    size_t message_bytes, taken;
    bool *found_texts;
    bool no_room;
    uint32_t *found;
    size_t found_count;
    uint64_t highest, first_modseq, last_modseq; /* modseqs of the found messages: the highest, that
                                                    of the first and that of the last one */
    int error;
};

static void run(struct session *s);

static void take(struct session *s, const struct mailbox_record *r, struct slice header, const bool *found_texts) {
    struct search_job *job = s->job;
    struct search_message m = {&s->view, r, header, found_texts};
    if (!search_fits(job->search.root, &m)) return;
    job->found[job->found_count++] = r->uid;
    if (r->modseq > job->highest) job->highest = r->modseq;
    if (job->found_count == 1) job->first_modseq = r->modseq;
    job->last_modseq = r->modseq;
}

/* RFC 7162 §3.1.5 with RFC 4731 §3.2: of the messages that MIN and MAX tell, when nothing else is
 * told. */
static uint64_t told_modseq(const struct search_job *job) {
    if (job->all || job->count || (!job->min && !job->max)) return job->highest;
    if (!job->max) return job->first_modseq;
    return job->min && job->first_modseq > job->last_modseq ? job->first_modseq : job->last_modseq;
}

static uint32_t number_of(struct session *s, uint32_t uid) {
    return s->by_uid ? uid : (uint32_t)view_sequence(&s->view, view_find(&s->view, uid));
}

static void write_result(struct session *s) {
    struct search_job *job = s->job;
    if (!job->esearch) {
        buf_add_str(&s->out, "* SEARCH");
        for (size_t i = 0; i < job->found_count; i++) buf_printf(&s->out, " %u", number_of(s, job->found[i]));
        if (job->search.has_modseq && job->found_count)
            buf_printf(&s->out, " (MODSEQ %llu)", (unsigned long long)job->highest);
        buf_add_str(&s->out, "\r\n");
        return;
    }
    if (job->save && !job->min && !job->max && !job->count && !job->all)
        return; /* RFC 5182 §2.1: SAVE alone returns no results */
    buf_printf(&s->out, "* ESEARCH (TAG \"%.*s\")%s", SLICE_FMT(s->tag), s->by_uid ? " UID" : "");
    if (job->min && job->found_count) buf_printf(&s->out, " MIN %u", number_of(s, job->found[0]));
    if (job->max && job->found_count) buf_printf(&s->out, " MAX %u", number_of(s, job->found[job->found_count - 1]));
    if (job->count) buf_printf(&s->out, " COUNT %zu", job->found_count);
    if (job->all && job->found_count) {
        uint32_t *numbers = arena_alloc(s->arena, job->found_count * sizeof *numbers);
        for (size_t i = 0; i < job->found_count; i++) numbers[i] = number_of(s, job->found[i]);
        buf_add_str(&s->out, " ALL ");
        set_write(&s->out, job->found_count, numbers);
    }
    if (job->search.has_modseq && job->found_count)
        buf_printf(&s->out, " MODSEQ %llu", (unsigned long long)told_modseq(job));
    buf_add_str(&s->out, "\r\n");
}

static void save(struct session *s) {
    struct search_job *job = s->job;
    bool only_ends = (job->min || job->max) && !job->all && !job->count; /* RFC 5182 §2.1 */
    free(s->saved);
    s->saved = memory_alloc((job->found_count + 1) * sizeof *s->saved);
    s->saved_count = 0;
    for (size_t i = 0; i < job->found_count; i++)
        if (!only_ends || (job->min && i == 0) || (job->max && i + 1 == job->found_count))
            s->saved[s->saved_count++] = job->found[i];
}

static void end(struct session *s) {
    struct search_job *job = s->job;
    if (job->error) {
        if (job->save) s->saved_count = 0; /* RFC 5182 §2.1 */
        session_no_store(s, job->error);
        return;
    }
    if (job->no_room) {
        if (job->save) s->saved_count = 0;
        session_no(s, "[LIMIT] Too many large messages are being read now; try again later");
        return;
    }
    if (job->save) save(s);
    write_result(s);
    session_ok_quietly(s, "%sSEARCH done", s->by_uid ? "UID " : "");
}

static void on_cached(void *ctx, int error, size_t count, const struct mailbox_cached cached[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct search_job *job = s->job;
    size_t bytes = 0;
    if (error) job->error = error;
    for (size_t i = 0; i < count; i++) {
        const struct mailbox_record *r = view_find(&s->view, cached[i].uid);
        bytes += cached[i].envelope.n + cached[i].body.n + cached[i].bodystructure.n + cached[i].header.n;
        if (r) take(s, r, cached[i].header, NULL);
    }
    job->batch = fetch_next_batch(job->batch_asked, bytes);
    run(s);
}

/* The message's text parts, a step a turn of the loop */

static void text_end(struct session *s) {
    struct search_job *job = s->job;
    text_search_destroy(job->text);
    free(job->message);
    budget_give(&s->imapd->process->budget, &job->taken);
    job->text = NULL;
    job->message = NULL;
}

static void on_turn(evutil_socket_t fd, short what, void *ctx) {
    struct session *s = ctx;
    (void)fd, (void)what;
    if (session_resume(s)) run(s);
}

/* Goes on after everything else that is due on this loop had its turn. */
static void run_later(struct session *s) {
    const struct timeval soon = {0, 1};
    session_wait(s);
    if (event_base_once(s->imapd->worker->base, -1, EV_TIMEOUT, on_turn, s, &soon) != 0) memory_exhausted();
}

static void text_done(struct session *s, struct slice message) {
    struct search_job *job = s->job;
    const struct mailbox_record *r = view_find(&s->view, job->uids[job->next - 1]);
    size_t body_at;
    if (r) take(s, r, header_block(message, &body_at), job->found_texts);
}

static void on_message(void *ctx, int error, struct slice message) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct search_job *job = s->job;
    if (error && error != STORE_NOT_FOUND) job->error = error;
    if (error) {
        run(s);
        return;
    }
    memset(job->found_texts, 0, job->search.text_count);
    if (!job->search.text_count) { /* a header field that is not in the store's cache */
        text_done(s, message);
    } else if (message.n <= TEXT_STEP) {
        struct text_search *text =
            text_search_create(message, job->search.text_count, job->search.texts, job->found_texts);
        while (text_search_step(text)) continue;
        text_search_destroy(text);
        text_done(s, message);
    } else if (budget_take(&s->imapd->process->budget, message.n, &job->taken)) {
        job->message = memory_alloc(message.n);
        job->message_bytes = message.n;
        memcpy(job->message, message.p, message.n);
        job->text = text_search_create(slice_make(job->message, message.n), job->search.text_count, job->search.texts,
                                       job->found_texts);
    } else {
        job->no_room = true;
    }
    run(s);
}

/* Whether there is more to be done in another turn. */
static bool text_step(struct session *s) {
    struct search_job *job = s->job;
    if (text_search_step(job->text)) return true;
    text_done(s, slice_make(job->message, job->message_bytes));
    text_end(s);
    return false;
}

static void ask(struct session *s) {
    struct search_job *job = s->job;
    const uint32_t *uids = job->uids + job->next;
    size_t left = job->candidate_count - job->next, most = LIMIT_SEARCH_WORK / 100 / (size_t)job->search.key_count + 1;
    session_wait(s);
    if (job->search.need == NEED_HEADER) {
        size_t n = left < job->batch ? left : job->batch;
        if (n > most) n = most;
        job->next += n;
        job->batch_asked = n;
        mailbox_cached(session_redis(s), session_user(s), s->view.folder_id, n, uids, on_cached, s);
    } else {
        job->next++;
        mailbox_read(session_redis(s), session_user(s), s->view.folder_id, *uids, on_message, s);
    }
}

/* Whether the message may match, assuming that all keys which need its text match: evaluates the
 * top-level keys that need only the record. */
static bool may_fit(const struct search *search, const struct search_message *m) {
    for (const struct search_key *k = search->root->children; k; k = k->next) {
        bool by_record = k->kind != SEARCH_AND && k->kind != SEARCH_OR && k->kind != SEARCH_NOT &&
                         k->kind != SEARCH_HEADER && k->kind != SEARCH_BODY && k->kind != SEARCH_TEXT &&
                         k->kind != SEARCH_SENT_BEFORE && k->kind != SEARCH_SENT_ON && k->kind != SEARCH_SENT_SINCE;
        if (by_record && !search_fits(k, m)) return false;
    }
    return true;
}

/* Decides by the records, or selects the messages to read. False when another turn is needed. */
static bool scan(struct session *s) {
    struct search_job *job = s->job;
    const struct view *v = &s->view;
    size_t end = job->scanned + LIMIT_SEARCH_WORK / (size_t)job->search.key_count + 1;
    for (; job->scanned < v->count && job->scanned < end; job->scanned++) {
        const struct mailbox_record *r = view_at(v, job->scanned);
        struct search_message m = {v, r, SLICE(""), NULL};
        if (job->search.need == NEED_RECORD)
            take(s, r, SLICE(""), NULL);
        else if (may_fit(&job->search, &m))
            job->uids[job->candidate_count++] = r->uid;
    }
    return job->scanned == v->count;
}

static void run(struct session *s) {
    struct search_job *job = s->job;
    if (!scan(s) || (job->text && text_step(s)))
        run_later(s);
    else if (job->error || job->no_room || job->next == job->candidate_count)
        end(s);
    else
        ask(s);
}

static void release(struct session *s) { text_end(s); }

/* "RETURN (MIN COUNT …) " and "CHARSET x ". NULL, or the reason of a BAD; *charset: the charset is
 * not supported. */
static const char *parse_options(struct session *s, struct parser *p, struct search_job *job, bool *charset) {
    struct slice name;
    (void)s;
    *charset = false;
    if (parse_word(p, "RETURN")) {
        job->esearch = true;
        if (!parse_space(p) || !parse_char(p, '(')) return "RETURN requires a list of options";
        while (!parse_char(p, ')')) {
            if (parse_word(p, "MIN"))
                job->min = true;
            else if (parse_word(p, "MAX"))
                job->max = true;
            else if (parse_word(p, "COUNT"))
                job->count = true;
            else if (parse_word(p, "ALL"))
                job->all = true;
            else if (parse_word(p, "SAVE"))
                job->save = true;
            else if (!parse_space(p))
                return "unknown option of RETURN";
        }
        if (!job->min && !job->max && !job->count && !job->save) job->all = true; /* RFC 4731 §3.1 */
        if (!parse_space(p)) return "SEARCH requires search keys";
    }
    if (parse_word(p, "CHARSET")) {
        if (!parse_space(p) || !parse_astring(p, &name) || !parse_space(p)) return "CHARSET requires a name";
        *charset = !slice_is_nocase(name, "UTF-8") && !slice_is_nocase(name, "US-ASCII");
    }
    return NULL;
}

void cmd_search(struct session *s, struct parser *p) {
    struct search_job *job = arena_alloc(s->arena, sizeof *job);
    bool unknown_charset = false;
    const char *wrong = parse_space(p) ? parse_options(s, p, job, &unknown_charset) : "SEARCH requires search keys";
    if (!wrong && unknown_charset) {
        if (job->save) s->saved_count = 0;
        session_no(s, "[BADCHARSET (UTF-8 US-ASCII)] Unsupported charset");
        return;
    }
    if (!wrong) wrong = parse_search(p, s, &job->search);
    if (wrong) {
        session_bad(s, wrong);
        return;
    }
    if (s->rev2)
        job->esearch = true, job->all = job->all || (!job->min && !job->max && !job->count &&
                                                     !job->save); /* RFC 9051 §7.3.4: always ESEARCH */
    const struct view *v = &s->view;
    s->job = job;
    job->uids = arena_alloc(s->arena, (v->count + 1) * sizeof *job->uids);
    job->found = arena_alloc(s->arena, (v->count + 1) * sizeof *job->found);
    if (job->search.has_modseq) s->condstore = true; /* RFC 7162 §3.1: using MODSEQ enables it */
    job->found_texts = arena_alloc(s->arena, job->search.text_count + 1);
    job->batch = LIMIT_CACHED_FIRST;
    s->release = release;
    run(s);
}
