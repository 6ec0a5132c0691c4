/* THREAD and UID THREAD (RFC 5256 §3). */
#include "services/imapd/order/sort_key.h"
#include "services/imapd/search/results.h"
#include "services/imapd/sort/thread.h"

struct thread_job {
    struct search_run run;
    enum thread_algorithm algorithm;
    struct thread_message *messages;
    size_t count;
};

static const struct {
    const char *name;
    enum thread_algorithm algorithm;
} algorithms[] = {{"ORDEREDSUBJECT", THREAD_ORDERED_SUBJECT}, {"REFERENCES", THREAD_REFERENCES}, {"REFS", THREAD_REFS}};
enum { ALGORITHMS = sizeof algorithms / sizeof *algorithms };

static void on_found(struct session *s, struct search_run *run, const struct mailbox_record *r, struct slice header) {
    struct thread_job *job = s->job;
    if (arena_used(s->arena) > LIMIT_SORT_BYTES) {
        run->no_room = true;
        return;
    }
    struct thread_message *m = &job->messages[job->count++];
    m->number = result_number(s, r->uid);
    m->arrival = r->date;
    m->sent = sort_sent_date(header, r->date);
    thread_read_message(s->arena, header, m);
}

static void on_done(struct session *s, struct search_run *run) {
    struct thread_job *job = s->job;
    if (run->error || run->no_room) {
        search_run_refuse(s, run);
        return;
    }
    buf_add_str(&s->out, job->count ? "* THREAD " : "* THREAD");
    thread_write(s->arena, job->algorithm, job->count, job->messages, &s->out);
    buf_add_str(&s->out, "\r\n");
    session_ok_quietly(s, "%sTHREAD done", s->by_uid ? "UID " : "");
}

/* NULL, or the reason of a BAD. *charset: it is not known. */
static const char *parse(struct session *s, struct parser *p, struct thread_job *job, bool *charset) {
    struct slice name;
    size_t i = 0;
    if (!parse_space(p) || !parse_atom(p, &name)) return "THREAD requires an algorithm";
    while (i < ALGORITHMS && !slice_is_nocase(name, algorithms[i].name)) i++;
    if (i == ALGORITHMS) return "Unknown threading algorithm";
    job->algorithm = algorithms[i].algorithm;
    if (!parse_space(p) || !parse_astring(p, &name) || !parse_space(p))
        return "THREAD requires a charset and search keys";
    *charset = !search_charset_is_known(name);
    return *charset ? NULL : parse_search(p, s, &job->run.search);
}

void cmd_thread(struct session *s, struct parser *p) {
    struct thread_job *job = arena_alloc(s->arena, sizeof *job);
    bool unknown_charset = false;
    s->job = job;
    const char *wrong = parse(s, p, job, &unknown_charset);
    if (wrong) {
        session_bad(s, wrong);
        return;
    }
    if (unknown_charset) {
        search_refuse_charset(s);
        return;
    }
    if (job->run.search.has_modseq) s->condstore = true;
    job->messages = arena_alloc(s->arena, (s->view.count + 1) * sizeof *job->messages);
    job->run.view = &s->view;
    job->run.done = on_done;
    job->run.found_one = on_found;
    search_run_start(s, &job->run);
}
