/* GETMETADATA and SETMETADATA (RFC 5464 §4.2, §4.3): of a folder, or of the server, whose shared
 * entries cannot be changed by its users. */
#include "services/imapd/metadata/metadata.h"
#include "services/imapd/write.h"

struct metadata_job {
    struct slice mailbox; /* empty: the server */
    /* GETMETADATA */
    bool has_max;
    uint32_t max; /* MAXSIZE */
    int depth;
    struct metadata_names names;
    const struct mailbox_folder *folder; /* NULL: the server */
    /* SETMETADATA */
    size_t count;
    struct metadata_entry entries[LIMIT_METADATA_NAMES];
};

typedef void with_folder_fn(struct session *s, uint32_t folder_id);

/* GETMETADATA */

/* "(MAXSIZE 1024 DEPTH 1) " */
static bool parse_options(struct parser *p, struct metadata_job *job) {
    do {
        if (parse_word(p, "MAXSIZE")) {
            job->has_max = true;
            if (!parse_space(p) || !parse_u32(p, &job->max)) return false;
        } else if (parse_word(p, "DEPTH") && parse_space(p)) {
            if (parse_word(p, "0"))
                job->depth = 0;
            else if (parse_word(p, "1"))
                job->depth = 1;
            else if (parse_word(p, "infinity"))
                job->depth = -1;
            else
                return false;
        } else {
            return false;
        }
    } while (parse_space(p));
    return parse_char(p, ')') && parse_space(p);
}

/* Whether `name` is asked for. */
static bool is_asked(const struct metadata_job *job, struct slice name) {
    for (size_t i = 0; i < job->names.count; i++) {
        struct slice asked = job->names.names[i];
        if (slice_equal(asked, name)) return true;
        if (!job->depth || name.n <= asked.n || name.p[asked.n] != '/' || !slice_starts(name, asked)) continue;
        if (job->depth < 0 || !memchr(name.p + asked.n + 1, '/', name.n - asked.n - 1)) return true;
    }
    return false;
}

struct getting {
    struct metadata_writer w;
    const struct metadata_job *job;
    size_t longest; /* of the values that are longer than MAXSIZE */
};

static void tell(struct getting *g, struct slice name, struct slice value) {
    if (!g->job->has_max || value.n <= g->job->max)
        metadata_write(&g->w, name, value);
    else if (value.n > g->longest)
        g->longest = value.n;
}

static void on_entries(void *ctx, int error, size_t count, const struct metadata_entry entries[]) {
    static const char *const computed[] = {METADATA_SPECIALUSE, METADATA_ADMIN};
    struct session *s = ctx;
    if (!session_resume(s)) return;
    const struct metadata_job *job = s->job;
    struct getting g = {.w = {.s = s, .mailbox = job->mailbox}, .job = job};
    struct slice value;
    if (error) {
        session_no_store(s, error);
        return;
    }
    for (size_t i = 0; i < count; i++) tell(&g, entries[i].name, entries[i].value);
    for (size_t i = 0; i < sizeof computed / sizeof *computed; i++)
        if (is_asked(job, slice_of(computed[i])) && metadata_computed(s, job->folder, slice_of(computed[i]), &value) &&
            value.p)
            tell(&g, slice_of(computed[i]), value);
    for (size_t n = 0; n < job->names.count && !job->depth; n++) { /* NIL: it has no value */
        struct slice name = job->names.names[n];
        bool known = metadata_computed(s, job->folder, name, &value) && value.p;
        for (size_t i = 0; i < count && !known; i++) known = slice_equal(entries[i].name, name);
        if (!known) metadata_write(&g.w, name, slice_make(NULL, 0));
    }
    metadata_write_end(&g.w);
    if (g.longest)
        session_ok(s, "[METADATA LONGENTRIES %zu] GETMETADATA done", g.longest);
    else
        session_ok(s, "GETMETADATA done");
}

static void get(struct session *s, uint32_t folder_id) {
    const struct metadata_job *job = s->job;
    session_wait(s);
    metadata_get(session_redis(s), session_user(s), folder_id, job->depth, job->names.count, job->names.names,
                 on_entries, s);
}

/* The folder */

static void set(struct session *s, uint32_t folder_id);

static void on_folder(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct metadata_job *job = s->job;
    const struct mailbox_folder *folder = session_folder(s, error, count, folders, job->mailbox, "NONEXISTENT");
    if (!folder) return;
    struct mailbox_folder *kept = arena_alloc(s->arena, sizeof *kept);
    *kept = (struct mailbox_folder){.id = folder->id, .special_use = arena_slice(s->arena, folder->special_use)};
    job->folder = kept;
    if (job->count)
        set(s, folder->id);
    else
        get(s, folder->id);
}

static void find(struct session *s, struct slice wire) {
    struct metadata_job *job = s->job;
    if (wire.n && !name_from_client(s, wire, &job->mailbox)) {
        session_no(s, "[NONEXISTENT] No such mailbox");
        return;
    }
    if (wire.n) {
        session_wait(s);
        mailbox_folder_find(session_redis(s), session_user(s), job->mailbox, on_folder, s);
    } else if (job->count) {
        set(s, METADATA_SERVER);
    } else {
        get(s, METADATA_SERVER);
    }
}

void cmd_getmetadata(struct session *s, struct parser *p) {
    struct metadata_job *job = arena_alloc(s->arena, sizeof *job);
    struct slice wire;
    s->job = job;
    bool ok = parse_space(p);
    if (ok && parse_char(p, '(')) ok = parse_options(p, job);
    if (!ok || !parse_astring(p, &wire) || !parse_space(p) || !metadata_parse_names(p, &job->names) || !parse_end(p))
        session_bad(s, "GETMETADATA requires a mailbox or \"\", and entries");
    else
        find(s, wire);
}

/* SETMETADATA */

static void on_set(void *ctx, int error) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    if (error == STORE_LIMIT || error == STORE_FULL)
        session_no(s, "[METADATA TOOMANY] Too many annotations");
    else if (error)
        session_no_store(s, error);
    else
        session_ok(s, "SETMETADATA done");
}

static void set(struct session *s, uint32_t folder_id) {
    struct metadata_job *job = s->job;
    for (size_t i = 0; i < job->count; i++) {
        const struct metadata_entry *e = &job->entries[i];
        bool special_use = slice_is(e->name, METADATA_SPECIALUSE);
        if (special_use && !e->removed && (folder_id == METADATA_SERVER || !special_use_of(e->value).n)) {
            session_no(s, "[USEATTR] Special use not supported");
            return;
        }
        if (folder_id == METADATA_SERVER && metadata_is_shared(e->name)) {
            session_no(s, "[NOPERM] This annotation cannot be changed");
            return;
        }
        if (e->value.n > LIMIT_METADATA_VALUE) {
            session_no(s, "[METADATA MAXSIZE %d] The value is too long", LIMIT_METADATA_VALUE);
            return;
        }
    }
    for (size_t i = 0; i < job->count; i++)
        if (slice_is(job->entries[i].name, METADATA_SPECIALUSE) && !job->entries[i].removed)
            job->entries[i].value = special_use_of(job->entries[i].value);
    session_wait(s);
    metadata_set(session_redis(s), session_user(s), folder_id, job->count, job->entries, on_set, s);
}

static bool parse_entries(struct parser *p, struct metadata_job *job) {
    if (!parse_char(p, '(')) return false;
    do {
        struct metadata_entry *e = &job->entries[job->count];
        if (job->count == LIMIT_METADATA_NAMES) return false;
        job->count++;
        if (!metadata_parse_name(p, &e->name) || !parse_space(p) || !metadata_parse_value(p, &e->value, &e->removed))
            return false;
    } while (parse_space(p));
    return parse_char(p, ')') && parse_end(p);
}

void cmd_setmetadata(struct session *s, struct parser *p) {
    struct metadata_job *job = arena_alloc(s->arena, sizeof *job);
    struct slice wire;
    s->job = job;
    if (!parse_space(p) || !parse_astring(p, &wire) || !parse_space(p) || !parse_entries(p, job))
        session_bad(s, "SETMETADATA requires a mailbox or \"\", and (entry value …)");
    else
        find(s, wire);
}
