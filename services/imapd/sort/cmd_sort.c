/* SORT and UID SORT (RFC 5256 §3), with DISPLAYFROM and DISPLAYTO (RFC 5957) and RETURN (RFC 5267
 * §3). */
#include "services/imapd/search/context.h"

struct sort_job {
    struct search_run run;
    struct result_options options;
    struct sort_program program;
    struct slice keys;   /* the bytes of the search keys */
    struct arena *arena; /* of the values, if changes will be told; NULL: the command's */
    struct sort_entry *entries;
    size_t count;
};

static struct arena *values_arena(struct session *s) {
    struct sort_job *job = s->job;
    return job->arena ? job->arena : s->arena;
}

static void release(struct session *s) {
    struct sort_job *job = s->job;
    search_run_end(s);
    arena_destroy(job->arena);
}

static void on_found(struct session *s, struct search_run *run, const struct mailbox_record *r, struct slice header) {
    struct sort_job *job = s->job;
    if (arena_used(values_arena(s)) > LIMIT_SORT_BYTES)
        run->no_room = true;
    else
        sort_make_entry(values_arena(s), &job->program, r, header, &job->entries[job->count++]);
}

static void write_plain(struct session *s, size_t count, const uint32_t uids[], const struct search_run *run) {
    buf_add_str(&s->out, "* SORT");
    for (size_t i = 0; i < count; i++) buf_printf(&s->out, " %u", result_number(s, uids[i]));
    if (run->search.has_modseq && count) /* RFC 7162 §3.1.10 */
        buf_printf(&s->out, " (MODSEQ %llu)", (unsigned long long)run->highest);
    buf_add_str(&s->out, "\r\n");
}

static void on_done(struct session *s, struct search_run *run) {
    struct sort_job *job = s->job;
    if (run->error || run->no_room) {
        results_save_nothing(s, &job->options);
        search_run_refuse(s, run);
        return;
    }
    if (!job->program.needs_header)
        for (size_t i = 0; i < run->found_count; i++)
            sort_make_entry(values_arena(s), &job->program, view_find(run->view, run->found[i]), SLICE(""),
                            &job->entries[job->count++]);
    sort_entries(&job->program, job->count, job->entries);
    uint32_t *uids = arena_alloc(s->arena, (job->count + 1) * sizeof *uids);
    for (size_t i = 0; i < job->count; i++) uids[i] = job->entries[i].uid;
    if (job->options.extended)
        results_write(s, &job->options, run, job->count, uids);
    else
        write_plain(s, job->count, uids, run);
    if (job->options.update) {
        context_begin(s, job->keys, job->count, uids, &job->program, job->entries, job->arena);
        job->arena = NULL;
    }
    results_save(s, &job->options, job->count, uids); /* the keys may name the one before */
    session_ok_quietly(s, "%sSORT done", s->by_uid ? "UID " : "");
}

/* NULL, or the reason of a BAD. *charset: it is not known. */
static const char *parse(struct session *s, struct parser *p, struct sort_job *job, bool *charset) {
    struct slice name;
    const char *wrong;
    if (!parse_space(p)) return "SORT requires a list of criteria";
    if (parse_word(p, "RETURN")) {
        if ((wrong = result_options_parse(p, &job->options))) return wrong;
        if (!parse_space(p)) return "SORT requires a list of criteria";
    }
    if ((wrong = sort_parse_program(p, &job->program))) return wrong;
    if (!parse_space(p) || !parse_astring(p, &name) || !parse_space(p))
        return "SORT requires a charset and search keys";
    *charset = !search_charset_is_known(name);
    job->keys = slice_make(p->p, (size_t)(p->end - p->p));
    if (job->options.update && context_tag_is_used(s)) return "This tag belongs to a search whose changes are told";
    return *charset ? NULL : parse_search(p, s, &job->run.search);
}

void cmd_sort(struct session *s, struct parser *p) {
    struct sort_job *job = arena_alloc(s->arena, sizeof *job);
    bool unknown_charset = false;
    s->job = job;
    const char *wrong = parse(s, p, job, &unknown_charset);
    if (wrong) {
        session_bad(s, wrong);
        return;
    }
    if (unknown_charset) {
        results_save_nothing(s, &job->options);
        search_refuse_charset(s);
        return;
    }
    if (job->options.extended) result_options_complete(s, &job->options);
    if (job->run.search.has_modseq) s->condstore = true; /* RFC 7162 §3.1 */
    job->entries = arena_alloc(s->arena, (s->view.count + 1) * sizeof *job->entries);
    job->run.view = &s->view;
    job->run.done = on_done;
    job->run.found_one = job->program.needs_header ? on_found : NULL;
    if (job->options.update) job->arena = arena_create();
    s->release = release;
    search_run_start(s, &job->run);
}
