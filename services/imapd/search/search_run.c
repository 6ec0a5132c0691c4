#include "services/imapd/search/search_run.h"

#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/mail/header.h"
#include "services/imapd/fetch/fetch.h"
#include "services/imapd/search/search_text.h"
#include "services/imapd/write.h"

static mailbox_cached_fn on_cached;
static void go_on(struct session *s);

static void add_found(struct search_run *run, const struct mailbox_record *r) {
    run->found[run->found_count++] = r->uid;
    if (r->modseq > run->highest) run->highest = r->modseq;
    if (run->found_count == 1) run->first_modseq = r->modseq;
    run->last_modseq = r->modseq;
}

static void take(struct session *s, const struct mailbox_record *r, struct slice header,
                 const struct mailbox_keys *keys, const bool *found_texts) {
    struct search_run *run = s->job;
    struct search_message m = {run->view, r, header, keys, found_texts};
    if (!search_fits(run->search.root, &m)) return;
    add_found(run, r);
    if (run->found_one) run->found_one(s, run, r, header);
}

static void ask_column(struct session *s, enum mailbox_column column) {
    struct search_run *run = s->job;
    run->column = column;
    session_wait(s);
    mailbox_cached(session_redis(s), session_user(s), run->view->folder_id, column, run->batch_asked,
                   run->uids + run->next - run->batch_asked, on_cached, s);
}

/* Whether the keys have the fields that are compared: long ones are not kept. */
static bool has_fields(const struct search_key *key, const struct mailbox_keys *keys) {
    if (key->kind == SEARCH_HEADER) return search_keys_field(keys, key->field)->p;
    for (const struct search_key *k = key->children; k; k = k->next)
        if (!has_fields(k, keys)) return false;
    return true;
}

static void on_cached(void *ctx, int error, size_t count, const struct mailbox_cached cached[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct search_run *run = s->job;
    size_t bytes = 0;
    bool by_keys = run->column == MAILBOX_KEYS;
    struct mailbox_keys *keys = by_keys ? memory_alloc((count + 1) * sizeof *keys) : NULL;
    if (error) run->error = error;
    for (size_t i = 0; i < count && by_keys; i++) {
        if (mailbox_keys_read(cached[i].keys, &keys[i]) && has_fields(run->search.root, &keys[i])) continue;
        free(keys); /* the same messages by their header fields */
        ask_column(s, MAILBOX_HEADER);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct mailbox_record *r = view_find(run->view, cached[i].uid);
        bytes += cached[i].header.n + cached[i].keys.n;
        if (r) take(s, r, cached[i].header, by_keys ? &keys[i] : NULL, NULL);
    }
    free(keys);
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

/* Where headers are wanted, messages are read one after the other, in their order; else what fits
 * is put in order at the end. */
static void text_done(struct session *s, size_t candidate, struct slice message) {
    struct search_run *run = s->job;
    size_t body_at;
    const struct mailbox_record *r = view_find(run->view, run->uids[candidate]);
    struct slice header = header_block(message, &body_at);
    struct search_message m = {run->view, r, header, NULL, run->found_texts};
    if (r && run->found_one)
        take(s, r, header, NULL, run->found_texts);
    else if (r)
        run->fits[candidate] = search_fits(run->search.root, &m);
}

struct search_read {
    struct session *s;
    size_t candidate, bytes;
};

static void on_message(void *ctx, int error, struct slice message) {
    struct search_read read = *(struct search_read *)ctx;
    struct session *s = read.s;
    free(ctx);
    if (!session_resume(s)) return;
    struct search_run *run = s->job;
    run->in_flight--;
    run->bytes_in_flight -= read.bytes;
    if (error && error != STORE_NOT_FOUND) run->error = error;
    if (error) {
        go_on(s);
        return;
    }
    memset(run->found_texts, 0, run->search.text_count);
    if (!run->search.text_count) { /* a header field that is not in the store's cache */
        text_done(s, read.candidate, message);
    } else if (message.n <= TEXT_STEP) {
        struct text_search *text =
            text_search_create(message, run->search.text_count, run->search.texts, run->found_texts);
        while (text_search_step(text)) continue;
        text_search_destroy(text);
        text_done(s, read.candidate, message);
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
    text_done(s, run->next - 1, slice_make(run->message, run->message_bytes)); /* it was read alone */
    text_end(s);
    return false;
}

/* Asks for the next message, unless enough were asked for: small ones together, a large one alone.
 * True: to be called again. */
static bool ask_message(struct session *s) {
    struct search_run *run = s->job;
    size_t most = run->found_one ? 1 : LIMIT_SEARCH_AHEAD;
    if (run->next == run->candidate_count || run->in_flight == most) return false;
    const struct mailbox_record *r = view_find(run->view, run->uids[run->next]);
    if (!r) {
        run->next++;
        return true;
    }
    if (run->in_flight && run->bytes_in_flight + r->size > TEXT_STEP) return false;
    struct search_read *read = memory_alloc(sizeof *read);
    *read = (struct search_read){s, run->next++, r->size};
    run->in_flight++;
    run->bytes_in_flight += r->size;
    session_wait(s);
    mailbox_read_record(session_redis(s), session_user(s), run->view->folder_id, r, on_message, read);
    return true;
}

/* RFC 9585 §4: the client of a long command hears how far it is. */
static void tell_progress(struct session *s) {
    struct search_run *run = s->job;
    int64_t now = clock_monotonic_us();
    if (run->quiet || now - run->told_us < s->imapd->process->progress_us) return;
    run->told_us = now;
    buf_add_str(&s->out, "* OK [INPROGRESS (");
    write_string(&s->out, s->tag, false);
    buf_printf(&s->out, " %zu %zu)] Searching\r\n", run->next, run->candidate_count);
    session_flush(s);
}

static void ask(struct session *s) {
    struct search_run *run = s->job;
    tell_progress(s);
    size_t left = run->candidate_count - run->next, most = LIMIT_SEARCH_WORK / 100 / (size_t)run->search.key_count + 1;
    if (run->search.need != NEED_MESSAGE) {
        size_t n = left < run->batch ? left : run->batch;
        if (n > most) n = most;
        run->next += n;
        run->batch_asked = n;
        ask_column(s, run->search.need == NEED_KEYS ? MAILBOX_KEYS : MAILBOX_HEADER);
    } else {
        while (ask_message(s)) continue;
        if (!run->in_flight) session_later(s, go_on); /* the rest was removed */
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
    size_t all = run->only ? run->only_count : v->count;
    for (; run->scanned < all && run->scanned < end; run->scanned++) {
        const struct mailbox_record *r = run->only ? view_find(v, run->only[run->scanned]) : view_at(v, run->scanned);
        if (!r) continue;
        struct search_message m = {v, r, SLICE(""), NULL, NULL};
        if (run->search.need == NEED_RECORD)
            take(s, r, SLICE(""), NULL, NULL);
        else if (may_fit(&run->search, &m))
            run->uids[run->candidate_count++] = r->uid;
    }
    return run->scanned == all;
}

static void finish(struct session *s) {
    struct search_run *run = s->job;
    for (size_t i = 0; i < run->candidate_count && !run->found_one; i++) {
        const struct mailbox_record *r = run->fits[i] ? view_find(run->view, run->uids[i]) : NULL;
        if (r) add_found(run, r);
    }
    run->done(s, run);
}

static void go_on(struct session *s) {
    struct search_run *run = s->job;
    if (!scan(s) || (run->text && text_step(s)))
        session_later(s, go_on); /* after everything else that is due on this loop */
    else if (!run->error && !run->no_room && run->next < run->candidate_count)
        ask(s);
    else if (!run->in_flight)
        finish(s);
}

void search_run_end(struct session *s) { text_end(s); }

void search_run_start(struct session *s, struct search_run *run) {
    if (run->found_one && run->search.need < NEED_HEADER) run->search.need = NEED_HEADER;
    struct arena *arena = run->arena ? run->arena : s->arena;
    size_t all = run->only ? run->only_count : run->view->count;
    run->uids = arena_alloc(arena, (all + 1) * sizeof *run->uids);
    run->found = arena_alloc(arena, (all + 1) * sizeof *run->found);
    run->fits = arena_alloc(arena, all + 1);
    run->found_texts = arena_alloc(arena, run->search.text_count + 1);
    run->batch = LIMIT_CACHED_FIRST;
    run->told_us = clock_monotonic_us();
    if (!s->release) s->release = search_run_end;
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
