#include "services/imapd/search/context.h"

#include <stdlib.h>

#include "services/imapd/write.h"

struct context {
    struct context *next;
    struct arena *arena; /* of all but uids and entries */
    struct slice tag, keys;
    bool by_uid;
    struct search search;
    struct version *seen; /* the state of the folder that the result belongs to */
    size_t count, room;   /* results */
    uint32_t *uids;       /* in their order */
    size_t taken;         /* of the process's memory */
    bool sorted;
    struct sort_program program;
    struct sort_entry *entries; /* of a sorted one, in the order of uids */
};

static void context_free(struct session *s, struct context *c) {
    budget_give(&s->imapd->process->budget, &c->taken);
    version_release(c->seen);
    free(c->uids);
    free(c->entries);
    arena_destroy(c->arena);
    free(c);
}

static void end_all(struct session *s) {
    while (s->contexts) {
        struct context *c = s->contexts;
        s->contexts = c->next;
        context_free(s, c);
    }
}

bool context_tag_is_used(const struct session *s) {
    for (const struct context *c = s->contexts; c; c = c->next)
        if (slice_equal(c->tag, s->tag)) return true;
    return false;
}

static void refuse(struct session *s, struct slice tag) {
    buf_add_str(&s->out, "* NO [NOUPDATE ");
    write_string(&s->out, tag, false);
    buf_add_str(&s->out, "] Changes of this result are not told\r\n");
}

/* Sequence numbers are those at the time of the command (§4.3): they become uids, which stay. */
static void fix_numbers(const struct view *v, struct search_key *key) {
    for (struct search_key *k = key->children; k; k = k->next) fix_numbers(v, k);
    if (key->kind != SEARCH_SEQUENCE) return;
    size_t n = 0;
    for (size_t i = 0; i < key->set.count; i++) {
        struct range r = key->set.ranges[i];
        if (!r.first || r.first > v->count) continue;
        if (r.last > v->count) r.last = (uint32_t)v->count;
        key->set.ranges[n++] = (struct range){view_at(v, r.first - 1)->uid, view_at(v, r.last - 1)->uid};
    }
    key->set.count = n;
    key->kind = SEARCH_UID;
}

static void make_room(struct context *c, size_t more) {
    if (c->count + more <= c->room) return;
    c->room = c->room * 2 > c->count + more ? c->room * 2 : c->count + more;
    c->uids = memory_resize(c->uids, c->room * sizeof *c->uids);
    if (c->sorted) c->entries = memory_resize(c->entries, c->room * sizeof *c->entries);
}

static bool is_behind(const struct session *s) {
    for (const struct context *c = s->contexts; c; c = c->next)
        if (c->seen != s->view.told) return true;
    return false;
}

/* Writing */

static void write_start(struct session *s, const struct context *c, bool *started) {
    if (*started) return;
    *started = true;
    buf_add_str(&s->out, "* ESEARCH (TAG ");
    write_string(&s->out, c->tag, false);
    buf_add_str(&s->out, c->by_uid ? ") UID" : ")");
}

static uint32_t number_of(struct session *s, const struct context *c, uint32_t uid) {
    return c->by_uid ? uid : (uint32_t)(view_lower(&s->view, uid) + 1);
}

/* " ADDTO (0 2:5)": ascending uids, which become their numbers. */
static void write_set_of(struct session *s, const struct context *c, const char *word, size_t count, uint32_t uids[],
                         bool *started) {
    if (!count) return;
    write_start(s, c, started);
    for (size_t i = 0; i < count; i++) uids[i] = number_of(s, c, uids[i]);
    buf_printf(&s->out, " %s (0 ", word);
    set_write(&s->out, count, uids);
    buf_add_char(&s->out, ')');
}

static bool is_among(size_t count, const uint32_t uids[], uint32_t uid) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (uids[mid] < uid)
            low = mid + 1;
        else
            high = mid;
    }
    return low < count && uids[low] == uid;
}

/* Takes these uids (ascending) out of the result. Those that were no results are left out of the
 * response. */
static void take_out(struct session *s, struct context *c, size_t gone_count, const uint32_t gone[], bool *started) {
    size_t kept = 0, out_count = 0;
    uint32_t *out = c->sorted ? NULL : memory_alloc((gone_count + 1) * sizeof *out);
    bool first = true;
    for (size_t i = 0; i < c->count; i++) {
        if (!is_among(gone_count, gone, c->uids[i])) {
            c->uids[kept] = c->uids[i];
            if (c->sorted) c->entries[kept] = c->entries[i];
            kept++;
        } else if (c->sorted) { /* the position among what is left when this pair is processed (§4.3.4) */
            write_start(s, c, started);
            buf_printf(&s->out, first ? " REMOVEFROM (%zu %u" : " %zu %u", kept + 1, number_of(s, c, c->uids[i]));
            first = false;
        } else {
            out[out_count++] = c->uids[i];
        }
    }
    c->count = kept;
    if (c->sorted && !first) buf_add_char(&s->out, ')');
    if (!c->sorted) write_set_of(s, c, "REMOVEFROM", out_count, out, started);
    free(out);
}

static void add_in_mailbox_order(struct session *s, struct context *c, size_t count, uint32_t uids[], bool *started) {
    make_room(c, count);
    if (count) memcpy(c->uids + c->count, uids, count * sizeof *uids);
    c->count += count;
    numbers_sort(c->count, c->uids);
    write_set_of(s, c, "ADDTO", count, uids, started);
}

static void add_sorted(struct session *s, struct context *c, size_t count, const struct sort_entry entries[],
                       bool *started) {
    for (size_t i = 0; i < count; i++) {
        size_t low = 0, high = c->count;
        make_room(c, 1);
        while (low < high) {
            size_t mid = low + (high - low) / 2;
            if (sort_compare(&c->program, &c->entries[mid], &entries[i]) < 0)
                low = mid + 1;
            else
                high = mid;
        }
        memmove(c->uids + low + 1, c->uids + low, (c->count - low) * sizeof *c->uids);
        memmove(c->entries + low + 1, c->entries + low, (c->count - low) * sizeof *c->entries);
        c->uids[low] = entries[i].uid;
        c->entries[low] = entries[i];
        c->count++;
        write_start(s, c, started);
        buf_printf(&s->out, i ? " %zu %u" : " ADDTO (%zu %u", low + 1, number_of(s, c, entries[i].uid));
    }
    if (count) buf_add_char(&s->out, ')');
}

/* Removals */

static size_t uids_that_differ(const struct version *from, const struct version *to, bool gone, uint32_t **uids) {
    struct difference d = {.told = from, .now = to};
    size_t n = 0, room = 0, work = SIZE_MAX;
    *uids = NULL;
    while (difference_next(&d, &work)) {
        if (gone != !d.to) continue;
        if (n == room) *uids = memory_resize(*uids, (room = room * 2 + 64) * sizeof **uids);
        (*uids)[n++] = gone ? d.from->uid : d.to->uid;
    }
    return n;
}

/* Before the EXPUNGEs, since the sequence numbers are valid until then (§4.3.4). */
static void tell_removed(struct session *s, const struct version *to) {
    uint32_t *gone;
    size_t n = s->contexts ? uids_that_differ(s->view.told, to, true, &gone) : 0;
    for (struct context *c = s->contexts; c && n; c = c->next) {
        bool started = false;
        take_out(s, c, n, gone, &started);
        if (started) buf_add_str(&s->out, "\r\n");
    }
    if (n) free(gone);
}

/* Messages that are new or have changed: they are searched, context by context */

struct update_job {
    struct search_run run;
    struct context *context;
    const uint32_t *known; /* the result of a sorted one, ascending */
    struct arena *arena;
    uint32_t *uids; /* that are searched */
    size_t count;
    struct sort_entry *entries; /* of those found */
    size_t entry_count;
    void (*done)(struct session *s);
};

static void update_next(struct session *s);

static void release(struct session *s) {
    struct update_job *job = s->job;
    if (job->run.view) search_run_end(s);
    arena_destroy(job->arena);
    free(job->uids);
    free(job);
}

static void context_drop(struct session *s, struct context *c) {
    struct context **at = &s->contexts;
    while (*at != c) at = &(*at)->next;
    *at = c->next;
    context_free(s, c);
}

static void next_context(struct session *s) {
    struct update_job *job = s->job;
    search_run_end(s);
    arena_destroy(job->arena);
    free(job->uids);
    job->arena = NULL;
    job->uids = NULL;
    job->run = (struct search_run){0};
    job->entry_count = 0;
    session_later(s, update_next);
}

static void on_found(struct session *s, struct search_run *run, const struct mailbox_record *r, struct slice header) {
    struct update_job *job = s->job;
    struct context *c = job->context;
    (void)run;
    if (is_among(c->count, job->known, r->uid)) return;
    sort_make_entry(c->arena, &c->program, r, header, &job->entries[job->entry_count++]);
}

static void on_searched(struct session *s, struct search_run *run) {
    struct update_job *job = s->job;
    struct context *c = job->context;
    bool started = false;
    uint32_t *out = arena_alloc(job->arena, (job->count + 1) * sizeof *out);
    size_t n = 0;
    bool failed = run->error || run->no_room || (c->sorted && arena_used(c->arena) > LIMIT_CONTEXT_BYTES) ||
                  (c->sorted && c->count + job->entry_count > LIMIT_CONTEXT_SORTED * 2);
    if (failed) { /* it cannot be kept up to date */
        refuse(s, c->tag);
        job->context = c->next;
        context_drop(s, c);
        next_context(s);
        return;
    }
    for (size_t i = 0; i < job->count; i++)
        if (!is_among(run->found_count, run->found, job->uids[i])) out[n++] = job->uids[i];
    take_out(s, c, n, out, &started);
    if (c->sorted) {
        add_sorted(s, c, job->entry_count, job->entries, &started);
    } else {
        n = 0;
        for (size_t i = 0; i < run->found_count; i++)
            if (!is_among(c->count, c->uids, run->found[i])) out[n++] = run->found[i];
        add_in_mailbox_order(s, c, n, out, &started);
    }
    if (started) buf_add_str(&s->out, "\r\n");
    version_release(c->seen);
    c->seen = version_hold(s->view.told);
    job->context = c->next;
    next_context(s);
}

static void update_next(struct session *s) {
    struct update_job *job = s->job;
    struct context *c = job->context;
    while (c && c->seen == s->view.told) c = c->next;
    job->context = c;
    if (!c) {
        void (*done)(struct session *) = job->done;
        session_release_job(s);
        done(s);
        return;
    }
    job->count = uids_that_differ(c->seen, s->view.told, false, &job->uids);
    job->arena = arena_create();
    job->entries = arena_alloc(job->arena, (job->count + 1) * sizeof *job->entries);
    if (c->sorted) {
        uint32_t *known = arena_alloc(job->arena, (c->count + 1) * sizeof *known);
        if (c->count) memcpy(known, c->uids, c->count * sizeof *known);
        numbers_sort(c->count, known);
        job->known = known;
    }
    job->run.search = c->search;
    job->run.arena = job->arena;
    job->run.only = job->uids;
    job->run.only_count = job->count;
    job->run.quiet = true;
    job->run.view = &s->view;
    job->run.found_one = c->sorted ? on_found : NULL;
    job->run.done = on_searched;
    search_run_start(s, &job->run);
}

static void follow(struct session *s, void (*done)(struct session *s)) {
    if (!is_behind(s)) {
        done(s);
        return;
    }
    session_release_job(s);
    struct update_job *job = memory_alloc(sizeof *job);
    job->done = done;
    job->context = s->contexts;
    s->job = job;
    s->release = release;
    update_next(s);
}

static const struct follower follower = {tell_removed, is_behind, follow, end_all};

/* What it may grow to is not counted again: results that are added are new messages. */
static bool may_begin(struct session *s, struct context *c, size_t count) {
    size_t n = 0;
    for (const struct context *one = s->contexts; one; one = one->next) n++;
    if (n >= LIMIT_CONTEXTS || (c->sorted && count > LIMIT_CONTEXT_SORTED)) return false;
    return budget_take(&s->imapd->process->budget, count * sizeof *c->uids + arena_used(c->arena), &c->taken);
}

void context_begin(struct session *s, struct slice keys, size_t count, const uint32_t uids[],
                   const struct sort_program *program, const struct sort_entry entries[], struct arena *arena) {
    struct context *c = memory_alloc(sizeof *c);
    c->arena = arena ? arena : arena_create();
    c->sorted = program != NULL;
    c->tag = arena_slice(c->arena, s->tag);
    if (!may_begin(s, c, count)) {
        refuse(s, c->tag);
        context_free(s, c);
        return;
    }
    c->keys = arena_slice(c->arena, keys);
    struct parser p = {c->keys.p, c->keys.p + c->keys.n, c->arena};
    parse_search(&p, s, &c->search); /* as it was parsed before */
    fix_numbers(&s->view, c->search.root);
    c->by_uid = s->by_uid;
    c->seen = version_hold(s->view.told);
    make_room(c, count + 1);
    c->count = count;
    if (count) memcpy(c->uids, uids, count * sizeof *uids);
    if (program) c->program = *program;
    if (program && count) memcpy(c->entries, entries, count * sizeof *entries);
    c->next = s->contexts;
    s->contexts = c;
    s->follower = &follower;
}

/* CANCELUPDATE (RFC 5267 §4.3.5). Tags without a context are ignored: it may have ended by itself. */
void cmd_cancelupdate(struct session *s, struct parser *p) {
    struct slice tag;
    struct parser check = *p;
    size_t n = 0;
    while (parse_space(&check) && parse_string(&check, &tag)) n++;
    if (!n || !parse_end(&check)) {
        session_bad(s, "CANCELUPDATE requires the tags of searches, as strings");
        return;
    }
    while (parse_space(p) && parse_string(p, &tag)) {
        struct context *c = s->contexts;
        while (c && !slice_equal(c->tag, tag)) c = c->next;
        if (c) context_drop(s, c);
    }
    session_ok(s, "CANCELUPDATE done");
}
