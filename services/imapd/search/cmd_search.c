/* SEARCH and UID SEARCH (RFC 9051 §6.4.4, RFC 3501 §6.4.4). */
#include "services/imapd/search/context.h"

struct search_job {
    struct search_run run;
    struct result_options options;
    struct slice keys; /* the bytes of the search keys */
};

static void write_plain(struct session *s, const struct search_run *run) {
    buf_add_str(&s->out, "* SEARCH");
    for (size_t i = 0; i < run->found_count; i++) buf_printf(&s->out, " %u", result_number(s, run->found[i]));
    if (run->search.has_modseq && run->found_count)
        buf_printf(&s->out, " (MODSEQ %llu)", (unsigned long long)run->highest);
    buf_add_str(&s->out, "\r\n");
}

static void on_done(struct session *s, struct search_run *run) {
    const struct search_job *job = s->job;
    const struct result_options *options = &job->options;
    if (run->error || run->no_room) {
        results_save_nothing(s, options);
        search_run_refuse(s, run);
        return;
    }
    if (options->extended)
        results_write(s, options, run, run->found_count, run->found);
    else
        write_plain(s, run);
    if (options->update) context_begin(s, job->keys, run->found_count, run->found, NULL, NULL, NULL);
    results_save(s, options, run->found_count, run->found); /* the keys may name the one before */
    session_ok_quietly(s, "%sSEARCH done", s->by_uid ? "UID " : "");
}

/* "RETURN (MIN COUNT …) CHARSET x keys". NULL, or the reason of a BAD. *charset: it is not known. */
static const char *parse(struct session *s, struct parser *p, struct search_job *job, bool *charset) {
    struct slice name;
    const char *wrong;
    if (!parse_space(p)) return "SEARCH requires search keys";
    if (parse_word(p, "RETURN")) {
        if ((wrong = result_options_parse(p, &job->options))) return wrong;
        if (!parse_space(p)) return "SEARCH requires search keys";
    }
    if (parse_word(p, "CHARSET")) {
        if (!parse_space(p) || !parse_astring(p, &name) || !parse_space(p)) return "CHARSET requires a name";
        *charset = !search_charset_is_known(name);
        if (*charset) return NULL;
    }
    job->keys = slice_make(p->p, (size_t)(p->end - p->p));
    if (job->options.update && context_tag_is_used(s)) return "This tag belongs to a search whose changes are told";
    return parse_search(p, s, &job->run.search);
}

void cmd_search(struct session *s, struct parser *p) {
    struct search_job *job = arena_alloc(s->arena, sizeof *job);
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
    result_options_complete(s, &job->options);
    if (job->run.search.has_modseq) s->condstore = true; /* RFC 7162 §3.1: using MODSEQ enables it */
    job->run.view = &s->view;
    job->run.done = on_done;
    search_run_start(s, &job->run);
}
