#include "services/imapd/search/search_run.h"

#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/mail/header.h"
#include "services/imapd/fetch/fetch.h"
#include "services/imapd/search/search_text.h"

static void go_on(struct session *s);

static void take(struct session *s, const struct mailbox_record *r, struct slice header, const bool *found_texts) {
    struct search_run *run = s->job;
    struct search_message m = {run->view, r, header, found_texts};
    if (!search_fits(run->search.root, &m)) return;
    run->found[run->found_count++] = r->uid;
    if (r->modseq > run->highest) run->highest = r->modseq;
    if (run->found_count == 1) run->first_modseq = r->modseq;
    run->last_modseq = r->modseq;
    if (run->found_one) run->found_one(s, run, r, header);
}

static void on_cached(void *ctx, int error, size_t count, const struct mailbox_cached cached[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct search_run *run = s->job;
    size_t bytes = 0;
    if (error) run->error = error;
    for (size_t i = 0; i < count; i++) {
        const struct mailbox_record *r = view_find(run->view, cached[i].uid);
        bytes += cached[i].envelope.n + cached[i].body.n + cached[i].bodystructure.n + cached[i].header.n;
        if (r) take(s, r, cached[i].header, NULL);
    }
    run->batch = fetch_next_batch(run->batch_asked, bytes);
    go_on(s);
}

/* The message's text parts, a step a turn of the loop */

static void text_end(struct session *s) {
    struct search_run *run = s->job;
    text_search_destroy(run->text);
    free(run->message);
    budget_give(&s->imapd->process->budget, &run->taken);
    run->text = NULL;
    run->message = NULL;
}

static void on_turn(evutil_socket_t fd, short what, void *ctx) {
    struct session *s = ctx;
    (void)fd, (void)what;
    if (session_resume(s)) go_on(s);
}

/* Goes on after everything else that is due on this loop had its turn. */
static void run_later(struct session *s) {
    const struct timeval soon = {0, 1};
    session_wait(s);
    if (event_base_once(s->imapd->worker->base, -1, EV_TIMEOUT, on_turn, s, &soon) != 0) memory_exhausted();
}

static void text_done(struct session *s, struct slice message) {
    struct search_run *run = s->job;
    const struct mailbox_record *r = view_find(run->view, run->uids[run->next - 1]);
    size_t body_at;
    if (r) take(s, r, header_block(message, &body_at), run->found_texts);
}

static void on_message(void *ctx, int error, struct slice message) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct search_run *run = s->job;
    if (error && error != STORE_NOT_FOUND) run->error = error;
    if (error) {
        go_on(s);
        return;
    }
    memset(run->found_texts, 0, run->search.text_count);
    if (!run->search.text_count) { /* a header field that is not in the store's cache */
        text_done(s, message);
    } else if (message.n <= TEXT_STEP) {
        struct text_search *text =
            text_search_create(message, run->search.text_count, run->search.texts, run->found_texts);
        while (text_search_step(text)) continue;
        text_search_destroy(text);
        text_done(s, message);
    } else if (budget_take(&s->imapd->process->budget, message.n, &run->taken)) {
        run->message = memory_alloc(message.n);
        run->message_bytes = message.n;
        memcpy(run->message, message.p, message.n);
        run->text = text_search_create(slice_make(run->message, message.n), run->search.text_count, run->search.texts,
                                       run->found_texts);
    } else {
        run->no_room = true;
    }
    go_on(s);
}

/* Whether there is more to be done in another turn. */
static bool text_step(struct session *s) {
    struct search_run *run = s->job;
    if (text_search_step(run->text)) return true;
    text_done(s, slice_make(run->message, run->message_bytes));
    text_end(s);
    return false;
}

static void ask(struct session *s) {
    struct search_run *run = s->job;
    const uint32_t *uids = run->uids + run->next;
    size_t left = run->candidate_count - run->next, most = LIMIT_SEARCH_WORK / 100 / (size_t)run->search.key_count + 1;
    session_wait(s);
    if (run->search.need == NEED_HEADER) {
        size_t n = left < run->batch ? left : run->batch;
        if (n > most) n = most;
        run->next += n;
        run->batch_asked = n;
        mailbox_cached(session_redis(s), session_user(s), run->view->folder_id, n, uids, on_cached, s);
    } else {
        run->next++;
        mailbox_read(session_redis(s), session_user(s), run->view->folder_id, *uids, on_message, s);
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
    struct search_run *run = s->job;
    const struct view *v = run->view;
    size_t end = run->scanned + LIMIT_SEARCH_WORK / (size_t)run->search.key_count + 1;
    for (; run->scanned < v->count && run->scanned < end; run->scanned++) {
        const struct mailbox_record *r = view_at(v, run->scanned);
        struct search_message m = {v, r, SLICE(""), NULL};
        if (run->search.need == NEED_RECORD)
            take(s, r, SLICE(""), NULL);
        else if (may_fit(&run->search, &m))
            run->uids[run->candidate_count++] = r->uid;
    }
    return run->scanned == v->count;
}

static void go_on(struct session *s) {
    struct search_run *run = s->job;
    if (!scan(s) || (run->text && text_step(s)))
        run_later(s);
    else if (run->error || run->no_room || run->next == run->candidate_count)
        run->done(s, run);
    else
        ask(s);
}

static void release(struct session *s) { text_end(s); }

void search_run_start(struct session *s, struct search_run *run) {
    const struct view *v = run->view;
    if (run->found_one && run->search.need < NEED_HEADER) run->search.need = NEED_HEADER;
    run->uids = arena_alloc(s->arena, (v->count + 1) * sizeof *run->uids);
    run->found = arena_alloc(s->arena, (v->count + 1) * sizeof *run->found);
    run->found_texts = arena_alloc(s->arena, run->search.text_count + 1);
    run->batch = LIMIT_CACHED_FIRST;
    run->told_us = clock_monotonic_us();
    s->release = release;
    go_on(s);
}

void search_run_refuse(struct session *s, const struct search_run *run) {
    if (run->error)
        session_no_store(s, run->error);
    else
        session_no(s, "[LIMIT] This needs more memory than is free now; try again later, or ask for fewer messages");
}

bool search_charset_is_known(struct slice name) {
    return slice_is_nocase(name, "UTF-8") || slice_is_nocase(name, "US-ASCII");
}

void search_refuse_charset(struct session *s) { session_no(s, "[BADCHARSET (UTF-8 US-ASCII)] Unsupported charset"); }
