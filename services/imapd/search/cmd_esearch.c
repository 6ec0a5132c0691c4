/* ESEARCH: a search in several mailboxes (MULTISEARCH, RFC 7377), one after the other; the result
 * options apply to each. Mailboxes without a match are not answered (§2.1). */
#include "services/imapd/search/context.h"
#include "services/imapd/syntax/mailbox_filter.h"

struct target {
    uint32_t folder_id;
    struct slice name;
};

struct esearch_job {
    struct search_run run;
    struct result_options options;
    struct parser keys; /* where the search keys begin: they are read again for each mailbox */
    size_t filter_count;
    struct mailbox_filter *filters;
    bool selected;
    size_t target_count, at;
    struct target *targets;
    struct view other; /* of a mailbox that is not selected */
    struct arena *arena;
    struct snapshot_look look;
};

static void next(struct session *s);

static void close_target(struct session *s) {
    struct esearch_job *job = s->job;
    if (job->run.view) search_run_end(s);
    view_close(&job->other);
    arena_destroy(job->arena);
    job->arena = NULL;
    job->run = (struct search_run){0};
}

static void on_done(struct session *s, struct search_run *run) {
    struct esearch_job *job = s->job;
    if (run->error || run->no_room) {
        results_save_nothing(s, &job->options);
        search_run_refuse(s, run);
        return;
    }
    if (run->found_count) results_write(s, &job->options, run, run->found_count, run->found);
    if (job->options.update && run->view == &s->view) /* of the selected mailbox alone (§2.2) */
        context_begin(s, slice_make(job->keys.p, (size_t)(job->keys.end - job->keys.p)), run->found_count, run->found,
                      NULL, NULL, NULL);
    results_save(s, &job->options, run->found_count, run->found); /* the keys may name the one before */
    close_target(s);
    job->at++;
    session_later(s, next);
}

static const char *prepare(struct session *s, const struct view *view) {
    struct esearch_job *job = s->job;
    job->arena = arena_create();
    struct parser p = job->keys;
    p.arena = job->arena;
    return parse_search_in(&p, s, view, &job->run.search);
}

static void search(struct session *s, const struct view *view) {
    struct esearch_job *job = s->job;
    const char *wrong = prepare(s, view);
    if (wrong) {
        session_bad(s, wrong);
        return;
    }
    job->run.arena = job->arena;
    job->run.mailbox = job->targets[job->at].name;
    job->run.view = view;
    job->run.done = on_done;
    search_run_start(s, &job->run);
}

static void on_look(void *ctx, int error) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct esearch_job *job = s->job;
    if (!error) {
        view_open(&job->other, true);
        search(s, &job->other);
    } else if (error == STORE_NOT_FOUND) { /* it was deleted meanwhile */
        close_target(s);
        job->at++;
        next(s);
    } else {
        session_no_store(s, error);
    }
}

static void next(struct session *s) {
    struct esearch_job *job = s->job;
    if (job->at == job->target_count) {
        session_ok_quietly(s, "ESEARCH done");
        return;
    }
    uint32_t id = job->targets[job->at].folder_id;
    if (s->state == SESSION_SELECTED && id == s->view.folder_id) {
        search(s, &s->view);
        return;
    }
    snapshot_join(s->imapd->snapshots, session_user(s), id, &job->other.viewer);
    job->look = (struct snapshot_look){.done = on_look, .ctx = s};
    session_wait(s);
    snapshot_look(job->other.viewer.snapshot, &job->look);
}

static bool is_wanted(struct session *s, const struct mailbox_folder *f) {
    const struct esearch_job *job = s->job;
    if (job->selected && f->id == s->view.folder_id) return true;
    for (size_t i = 0; i < job->filter_count; i++)
        if (job->filters[i].kind != FILTER_SELECTED && mailbox_filter_has(&job->filters[i], f->name, f->subscribed))
            return true;
    return false;
}

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct esearch_job *job = s->job;
    if (error) {
        session_no_store(s, error);
        return;
    }
    job->targets = arena_alloc(s->arena, (count + 1) * sizeof *job->targets);
    for (size_t i = 0; i < count; i++)
        if (is_wanted(s, &folders[i]))
            job->targets[job->target_count++] = (struct target){folders[i].id, arena_slice(s->arena, folders[i].name)};
    next(s);
}

/* "IN (selected mailboxes (a b))". No scope option is defined (§4). */
static const char *parse_sources(struct session *s, struct parser *p) {
    struct esearch_job *job = s->job;
    static const char *const wrong = "IN requires a list of mailboxes";
    if (!parse_space(p) || !parse_char(p, '(')) return wrong;
    job->filters = arena_alloc(s->arena, LIMIT_FILTERS * sizeof *job->filters);
    do {
        if (job->filter_count == LIMIT_FILTERS) return "IN has too many parts";
        struct mailbox_filter *f = &job->filters[job->filter_count++];
        if (!parse_mailbox_filter(s, p, f) || f->kind == FILTER_SELECTED_DELAYED) return wrong;
        job->selected |= f->kind == FILTER_SELECTED;
    } while (parse_space(p));
    return parse_char(p, ')') ? NULL : wrong;
}

/* NULL, or the reason of a BAD. *charset: it is not known. */
static const char *parse(struct session *s, struct parser *p, bool *charset) {
    struct esearch_job *job = s->job;
    struct slice name;
    const char *wrong;
    if (!parse_space(p)) return "ESEARCH requires search keys";
    if (parse_word(p, "IN")) {
        if ((wrong = parse_sources(s, p))) return wrong;
        if (!parse_space(p)) return "ESEARCH requires search keys";
    } else {
        job->selected = true;
    }
    if (job->selected && s->state != SESSION_SELECTED) return "Select a mailbox first"; /* §2.2 */
    if (parse_word(p, "RETURN")) {
        if ((wrong = result_options_parse(p, &job->options))) return wrong;
        if (!parse_space(p)) return "ESEARCH requires search keys";
    }
    if (job->options.update && s->state != SESSION_SELECTED) return "UPDATE requires a selected mailbox"; /* §2.2 */
    if (job->options.update && context_tag_is_used(s)) return "This tag belongs to a search whose changes are told";
    for (size_t i = 0; i < job->filter_count && job->options.save; i++)
        if (job->filters[i].kind != FILTER_SELECTED)
            return "SAVE is possible for the selected mailbox alone"; /* §2.2 */
    if (parse_word(p, "CHARSET")) {
        if (!parse_space(p) || !parse_astring(p, &name) || !parse_space(p)) return "CHARSET requires a name";
        *charset = !search_charset_is_known(name);
        if (*charset) return NULL;
    }
    job->keys = *p;
    wrong = prepare(s, &s->view);                        /* before anything is searched */
    if (job->run.search.has_modseq) s->condstore = true; /* RFC 7162 §3.1 */
    close_target(s);
    return wrong;
}

void cmd_esearch(struct session *s, struct parser *p) {
    struct esearch_job *job = arena_alloc(s->arena, sizeof *job);
    bool unknown_charset = false;
    s->job = job;
    s->by_uid = true; /* the responses have uids (§2.1) */
    const char *wrong = parse(s, p, &unknown_charset);
    if (wrong) {
        session_bad(s, wrong);
        return;
    }
    if (unknown_charset) {
        results_save_nothing(s, &job->options);
        search_refuse_charset(s);
        return;
    }
    job->options.extended = true;
    result_options_complete(s, &job->options);
    s->release = close_target;
    session_wait(s);
    mailbox_folders(session_redis(s), session_user(s), on_folders, s);
}
