/* LIST with LIST-EXTENDED (RFC 5258, RFC 9051 §6.3.9), SPECIAL-USE (RFC 6154), LIST-STATUS (RFC 5819)
 * and LIST-METADATA (RFC 9590); LSUB (RFC 3501 §6.3.9). */
#include "services/imapd/metadata/metadata.h"
#include "services/imapd/syntax/list_match.h"
#include "services/imapd/syntax/status.h"

struct list_job {
    bool lsub;
    bool extended;                                           /* the client used LIST-EXTENDED */
    bool only_subscribed, only_special, recursive;           /* selection */
    bool return_subscribed, return_children, return_special; /* return options */
    unsigned status;
    size_t pattern_count;
    struct slice patterns[LIMIT_LIST_PATTERNS]; /* after the reference, in the encoding of the
                                                   store */
    size_t gone_count;
    struct slice *gone; /* subscribed names that do not exist */
    struct metadata_names metadata;
    size_t entry_count;
    struct metadata_entry *entries; /* those of `metadata` that have a value, of all folders */
};

static bool is_child(struct slice parent, struct slice name) {
    return name.n > parent.n && name.p[parent.n] == '/' && slice_starts(name, parent);
}

static bool is_wanted(const struct list_job *job, const struct mailbox_folder *f) {
    if (job->only_subscribed && !f->subscribed) return false;
    return !job->only_special || f->special_use.n;
}

static bool matches_any(const struct list_job *job, struct slice name) {
    for (size_t i = 0; i < job->pattern_count; i++)
        if (list_match(job->patterns[i], name)) return true;
    return false;
}

static void write_attributes(struct session *s, const struct list_job *job, size_t count,
                             const struct mailbox_folder folders[], const struct mailbox_folder *f) {
    bool children = false;
    for (size_t i = 0; i < count && !children; i++) children = is_child(f->name, folders[i].name);
    buf_add_str(&s->out, children ? "\\HasChildren" : "\\HasNoChildren");
    if (f->subscribed && (job->return_subscribed || job->only_subscribed)) buf_add_str(&s->out, " \\Subscribed");
    if (f->special_use.n && !job->lsub) buf_printf(&s->out, " %.*s", SLICE_FMT(f->special_use));
}

/* RECURSIVEMATCH: a folder that is not selected itself, with a selected child that matches no
 * pattern (RFC 5258 §3.5). */
static bool has_wanted_child(const struct list_job *job, size_t count, const struct mailbox_folder folders[],
                             struct slice parent) {
    for (size_t i = 0; i < count; i++)
        if (is_child(parent, folders[i].name) && is_wanted(job, &folders[i])) return true;
    return false;
}

static bool is_subscribed(const struct list_job *job, size_t count, const struct mailbox_folder folders[],
                          struct slice name) {
    for (size_t i = 0; i < count; i++)
        if (folders[i].subscribed && slice_equal(folders[i].name, name)) return true;
    for (size_t i = 0; i < job->gone_count; i++)
        if (slice_equal(job->gone[i], name)) return true;
    return false;
}

/* Subscribed names that do not exist (RFC 9051 §6.3.9, RFC 3501 §6.3.9). */
static void write_gone(struct session *s, const struct list_job *job, size_t count,
                       const struct mailbox_folder folders[]) {
    for (size_t i = 0; i < job->gone_count; i++) {
        bool children = false;
        if (!matches_any(job, job->gone[i]) || job->only_special) continue;
        for (size_t k = 0; k < count && !children; k++) children = is_child(job->gone[i], folders[k].name);
        session_untagged(s, job->lsub ? "LSUB (\\Noselect" : "LIST (\\NonExistent \\Subscribed");
        buf_add_str(&s->out, children ? " \\HasChildren) \"/\" " : ") \"/\" ");
        name_to_client(s, job->gone[i]);
        buf_add_str(&s->out, "\r\n");
    }
}

/* "%" of LSUB: a name whose parent matches and does not itself, and the parent is not subscribed:
 * the parent is answered, as \Noselect (RFC 3501 §6.3.9). */
static void write_parents(struct session *s, const struct list_job *job, size_t count,
                          const struct mailbox_folder folders[]) {
    size_t told_count = 0, room = 0;
    struct slice *told = NULL;
    for (size_t i = 0; i < count + job->gone_count; i++) {
        struct slice name = i < count ? folders[i].name : job->gone[i - count];
        if ((i < count && !folders[i].subscribed) || matches_any(job, name)) continue;
        for (size_t at = 0; at < name.n; at++) {
            struct slice parent = slice_head(name, at);
            bool known = name.p[at] != '/' || !matches_any(job, parent) || is_subscribed(job, count, folders, parent);
            for (size_t k = 0; k < told_count && !known; k++) known = slice_equal(told[k], parent);
            if (known) continue;
            if (told_count == room) {
                struct slice *more = arena_alloc(s->arena, (room = room * 2 + 16) * sizeof *more);
                if (told_count) memcpy(more, told, told_count * sizeof *more);
                told = more;
            }
            told[told_count++] = parent;
            buf_add_str(&s->out, "* LSUB (\\Noselect) \"/\" ");
            name_to_client(s, parent);
            buf_add_str(&s->out, "\r\n");
        }
    }
}

/* RFC 9590 §3: after each mailbox. */
static void write_metadata(struct session *s, const struct list_job *job, const struct mailbox_folder *f) {
    struct metadata_writer w = {.s = s, .mailbox = f->name};
    for (size_t n = 0; n < job->metadata.count; n++) {
        struct slice value = slice_make(NULL, 0), name = job->metadata.names[n];
        bool known = metadata_computed(s, f, name, &value);
        for (size_t i = 0; i < job->entry_count && !known; i++) {
            known = job->entries[i].folder_id == f->id && slice_equal(job->entries[i].name, name);
            if (known) value = job->entries[i].value;
        }
        metadata_write(&w, name, value);
    }
    metadata_write_end(&w);
}

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct list_job *job = s->job;
    if (error) {
        session_no_store(s, error);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct mailbox_folder *f = &folders[i];
        if (!matches_any(job, f->name)) continue;
        bool wanted = is_wanted(job, f), child = job->recursive && has_wanted_child(job, count, folders, f->name);
        if (!wanted && !child) continue;
        session_untagged(s, job->lsub ? "LSUB (" : "LIST (");
        write_attributes(s, job, count, folders, f);
        buf_add_str(&s->out, ") \"/\" ");
        name_to_client(s, f->name);
        if (child && job->only_subscribed) buf_add_str(&s->out, " (\"CHILDINFO\" (\"SUBSCRIBED\"))");
        buf_add_str(&s->out, "\r\n");
        if (job->status) write_status(s, f, job->status);
        write_metadata(s, job, f);
    }
    write_gone(s, job, count, folders);
    if (job->lsub) write_parents(s, job, count, folders);
    session_ok(s, "%.*s done", SLICE_FMT(s->name));
}

static void ask_folders(struct session *s);

static void on_metadata(void *ctx, int error, size_t count, const struct metadata_entry entries[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct list_job *job = s->job;
    if (error) {
        session_no_store(s, error);
        return;
    }
    job->entries = arena_alloc(s->arena, (count + 1) * sizeof *job->entries);
    for (size_t i = 0; i < count; i++)
        job->entries[i] = (struct metadata_entry){.folder_id = entries[i].folder_id,
                                                  .name = arena_slice(s->arena, entries[i].name),
                                                  .value = arena_slice(s->arena, entries[i].value)};
    job->entry_count = count;
    ask_folders(s);
}

static void ask_folders(struct session *s) {
    struct list_job *job = s->job;
    session_wait(s);
    if (job->metadata.count && !job->entries)
        metadata_get_all(session_redis(s), session_user(s), job->metadata.count, job->metadata.names, on_metadata, s);
    else
        mailbox_folders(session_redis(s), session_user(s), on_folders, s);
}

static void on_gone(void *ctx, int error, size_t count, const struct slice names[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct list_job *job = s->job;
    if (error) {
        session_no_store(s, error);
        return;
    }
    job->gone = arena_alloc(s->arena, (count + 1) * sizeof *job->gone);
    for (size_t i = 0; i < count; i++) job->gone[i] = arena_slice(s->arena, names[i]);
    job->gone_count = count;
    ask_folders(s);
}

static bool parse_selection(struct parser *p, struct list_job *job) {
    struct slice option;
    job->extended = true;
    if (parse_char(p, ')')) return true;
    do {
        if (!parse_atom(p, &option)) return false;
        if (slice_is_nocase(option, "SUBSCRIBED"))
            job->only_subscribed = true;
        else if (slice_is_nocase(option, "SPECIAL-USE"))
            job->only_special = true;
        else if (slice_is_nocase(option, "RECURSIVEMATCH"))
            job->recursive = true;
        else if (!slice_is_nocase(option, "REMOTE"))
            return false;
    } while (parse_space(p));
    return parse_char(p, ')') && (!job->recursive || job->only_subscribed || job->only_special);
}

static bool parse_return(struct parser *p, struct list_job *job) {
    struct slice option;
    job->extended = true;
    if (!parse_word(p, "RETURN") || !parse_space(p) || !parse_char(p, '(')) return false;
    if (parse_char(p, ')')) return true;
    do {
        if (!parse_atom(p, &option)) return false;
        if (slice_is_nocase(option, "SUBSCRIBED"))
            job->return_subscribed = true;
        else if (slice_is_nocase(option, "CHILDREN"))
            job->return_children = true;
        else if (slice_is_nocase(option, "SPECIAL-USE"))
            job->return_special = true;
        else if (slice_is_nocase(option, "METADATA")) {
            if (!parse_space(p) || !metadata_parse_names(p, &job->metadata)) return false;
        } else if (!slice_is_nocase(option, "STATUS") || !parse_space(p) || !(job->status = parse_status_items(p)))
            return false;
    } while (parse_space(p));
    return parse_char(p, ')');
}

static bool parse_pattern(struct session *s, struct parser *p, struct slice reference, struct list_job *job) {
    struct slice wire, name;
    struct buf whole = {0};
    if (job->pattern_count == LIMIT_LIST_PATTERNS || !parse_list_mailbox(p, &wire)) return false;
    buf_add_slice(&whole, reference);
    buf_add_slice(&whole, wire);
    if (name_from_client(s, buf_slice(&whole), &name)) job->patterns[job->pattern_count++] = name;
    buf_free(&whole);
    return true;
}

static void list(struct session *s, struct parser *p, bool lsub) {
    struct list_job *job = arena_alloc(s->arena, sizeof *job);
    struct slice reference, empty;
    job->lsub = job->only_subscribed = lsub;
    s->job = job;
    bool ok = parse_space(p);
    if (ok && !lsub && parse_char(p, '(')) ok = parse_selection(p, job) && parse_space(p);
    ok = ok && parse_astring(p, &reference) && parse_space(p);
    struct parser pattern = *p;
    bool only_delimiter = ok && parse_string(&pattern, &empty) && !empty.n && parse_end(&pattern);
    if (ok && !lsub && parse_char(p, '(')) {
        job->extended = true;
        do ok = parse_pattern(s, p, reference, job);
        while (ok && parse_space(p));
        ok = ok && parse_char(p, ')');
    } else {
        ok = ok && parse_pattern(s, p, reference, job);
    }
    if (ok && !lsub && parse_space(p)) ok = parse_return(p, job);
    if (!ok || !parse_end(p)) {
        session_bad(s, "LIST requires a reference and a pattern");
        return;
    }
    if (only_delimiter) { /* LIST "" "": asks for the hierarchy delimiter (RFC 9051 §6.3.9) */
        session_untagged(s, "LIST (\\Noselect) \"/\" \"\"\r\n");
        session_ok(s, "%.*s done", SLICE_FMT(s->name));
        return;
    }
    if (!job->only_subscribed) {
        ask_folders(s);
        return;
    }
    session_wait(s);
    mailbox_subscribed_gone(session_redis(s), session_user(s), on_gone, s);
}

void cmd_list(struct session *s, struct parser *p) { list(s, p, false); }
void cmd_lsub(struct session *s, struct parser *p) { list(s, p, true); }
