/* FETCH (RFC 9051 §6.4.5) with CHANGEDSINCE and VANISHED (RFC 7162 §3.1.4, §3.2.6) and PARTIAL (RFC 9394), in the order
 * in which it happens: parse, filter by mod-sequence, set \Seen, then message by message. Metadata comes from the view;
 * envelopes and structures from the store's cache, a batch at a time; whole messages one by one, with a few requested
 * ahead. No output is produced while much of it is still unsent. */
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "services/imapd/fetch/fetch.h"
#include "services/imapd/syntax/partial.h"

struct slot {
    struct session *s;
    bool busy, has_cached;
    uint32_t uid, size;
    size_t taken;                 /* of the process's memory */
    struct mailbox_cached cached; /* copied into room */
    char *room;
    size_t cap;
};

struct fetch_job {
    struct fetch_items items;
    struct set set;
    uint32_t *uids;
    bool *flagged; /* \Seen was set by this FETCH: report FLAGS too */
    size_t count, next;
    uint64_t changed_since;
    bool vanished;
    bool has_partial;
    struct partial_range partial;
    bool missing, unknown_encoding, no_room;
    int error;
    int in_flight; /* messages asked for and not yet written, or 1: a batch was asked for */
    size_t bytes_in_flight;
    size_t batch, batch_asked;
    int waits; /* for room, in seconds */
    struct slot slots[LIMIT_READ_AHEAD];
    struct fetch_writer *first, **last; /* what is there to be written; the first may have begun */
};

static void run(struct session *s);

static void end(struct session *s) {
    struct fetch_job *job = s->job;
    if (job->error)
        session_no_store(s, job->error);
    else if (job->no_room)
        session_no(s, "[LIMIT] Too many large messages are being read now; try again later");
    else if (job->unknown_encoding)
        session_no(s, "[UNKNOWN-CTE] The encoding of a part is not known");
    else if (job->missing && s->by_uid)
        session_ok(s, "UID FETCH done"); /* with the EXPUNGEs */
    else if (job->missing)
        session_no(s, "[EXPUNGEISSUED] Some of these messages no longer exist");
    else
        session_ok_quietly(s, "%sFETCH done", s->by_uid ? "UID " : "");
}

/* Writing */

static bool reads_body(const struct fetch_items *items) {
    for (size_t i = 0; i < items->count; i++) {
        const struct fetch_item *item = &items->items[i];
        if (item->kind == FETCH_BINARY) return true;
        if (item->kind == FETCH_SECTION && (item->section.text == SECTION_ALL || item->section.text == SECTION_TEXT))
            return true;
    }
    return false;
}

static bool is_flagged(const struct fetch_job *job, uint32_t uid) {
    size_t low = 0, high = job->count;
    if (!job->flagged) return false;
    while (high - low > 1) { /* its position in the requested uids */
        size_t mid = low + (high - low) / 2;
        if (job->uids[mid] <= uid)
            low = mid;
        else
            high = mid;
    }
    return job->flagged[low];
}

/* The event, once per message and session; a client that reads a whole mailbox is not told of
 * message by message. */
static void tell_fetched(struct session *s, const struct mailbox_record *r) {
    if (!view_mark_fetched(&s->view, r->uid)) return;
    int64_t now = clock_monotonic_us();
    if (now - s->fetched_since_us > 60 * 1000000) {
        s->fetched_since_us = now;
        s->fetched_told = 0;
    }
    if (s->fetched_told++ < LIMIT_FETCHED_EVENTS) publish_fetched(s, r);
}

static void written(struct session *s, struct fetch_writer *w) {
    struct fetch_job *job = s->job;
    job->unknown_encoding |= w->unknown_encoding;
    if (w->bytes) {
        job->in_flight--;
        job->bytes_in_flight -= w->bytes;
    }
    budget_give(&s->imapd->process->budget, &w->taken);
    fetch_writer_end(w);
}

/* Writes a message, or keeps it until the client has taken what came before. slot: NULL where it
 * holds none. */
static void write_message(struct session *s, uint32_t uid, const struct mailbox_cached *cached,
                          const struct slice *message, struct slot *slot) {
    struct fetch_job *job = s->job;
    const struct mailbox_record *r = view_find(&s->view, uid);
    struct fetch_writer w = {.session = s,
                             .items = &job->items,
                             .uid = uid,
                             .with_flags = is_flagged(job, uid),
                             .has_message = message,
                             .ranged = message && job->items.range};
    if (cached) w.cached = *cached;
    if (message) w.message = *message;
    if (slot) {
        w.bytes = slot->size;
        w.taken = slot->taken;
        slot->taken = 0;
        slot->busy = false;
    }
    if (message && r && reads_body(&job->items)) tell_fetched(s, r);
    if (!job->first && fetch_writer_step(&w)) {
        written(s, &w);
        return;
    }
    fetch_writer_keep(&w);
    struct fetch_writer *kept = memory_alloc(sizeof *kept);
    *kept = w;
    *job->last = kept;
    job->last = &kept->following;
}

/* False: the client has much to take. */
static bool write_kept(struct session *s) {
    struct fetch_job *job = s->job;
    while (job->first) {
        struct fetch_writer *w = job->first;
        if (!fetch_writer_step(w)) return false;
        job->first = w->following;
        if (!job->first) job->last = &job->first;
        written(s, w);
        free(w);
    }
    return true;
}

static void release(struct session *s) {
    struct fetch_job *job = s->job;
    for (size_t i = 0; i < LIMIT_READ_AHEAD; i++) budget_give(&s->imapd->process->budget, &job->slots[i].taken);
    for (struct fetch_writer *w = job->first, *next; w; w = next) {
        next = w->following;
        written(s, w);
        free(w);
    }
    job->first = NULL;
}

/* Envelopes and so on, a batch at a time */

static void ask_batch(struct session *s);

static void on_cached_batch(void *ctx, int error, size_t count, const struct mailbox_cached cached[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct fetch_job *job = s->job;
    size_t bytes = 0;
    job->in_flight = 0;
    if (error) job->error = error;
    if (count < job->batch_asked) job->missing = true;
    for (size_t i = 0; i < count; i++)
        bytes += cached[i].envelope.n + cached[i].bodystructure.n + cached[i].header.n + cached[i].preview.n;
    job->batch = fetch_next_batch(job->batch_asked, bytes);
    /* The store works on the next batch while this one is written. */
    if (!job->error && job->next < job->count && !job->first &&
        stream_pending_output(s->stream) <= LIMIT_OUTPUT_PENDING)
        ask_batch(s);
    for (size_t i = 0; i < count; i++) write_message(s, cached[i].uid, &cached[i], NULL, NULL);
    run(s);
}

static void ask_batch(struct session *s) {
    struct fetch_job *job = s->job;
    size_t n = job->count - job->next < job->batch ? job->count - job->next : job->batch;
    const uint32_t *uids = job->uids + job->next;
    job->next += n;
    job->in_flight = 1;
    job->batch_asked = n;
    session_wait(s);
    mailbox_cached(session_redis(s), session_user(s), s->view.folder_id, job->items.columns, n, uids, on_cached_batch,
                   s);
}

/* Whole messages, a few ahead */

static void slot_failed(struct slot *slot, int error) {
    struct session *s = slot->s;
    struct fetch_job *job = s->job;
    if (error == STORE_NOT_FOUND)
        job->missing = true;
    else
        job->error = error;
    slot->busy = false;
    job->in_flight--;
    job->bytes_in_flight -= slot->size;
    budget_give(&s->imapd->process->budget, &slot->taken);
}

static void on_message(void *ctx, int error, struct slice message) {
    struct slot *slot = ctx;
    struct session *s = slot->s;
    if (!session_resume(s)) return;
    if (error)
        slot_failed(slot, error);
    else
        write_message(s, slot->uid, slot->has_cached ? &slot->cached : NULL, &message, slot);
    run(s);
}

static void on_range(void *ctx, int error, uint64_t size, struct slice bytes) {
    (void)size;
    on_message(ctx, error, bytes);
}

static void read_message(struct slot *slot) {
    struct session *s = slot->s;
    const struct fetch_item *range = ((struct fetch_job *)s->job)->items.range;
    const struct mailbox_record *r = view_find(&s->view, slot->uid);
    session_wait(s);
    if (range)
        mailbox_read_range(session_redis(s), session_user(s), s->view.folder_id, slot->uid, range->offset,
                           range->length, on_range, slot);
    else if (r)
        mailbox_read_record(session_redis(s), session_user(s), s->view.folder_id, r, on_message, slot);
    else
        mailbox_read(session_redis(s), session_user(s), s->view.folder_id, slot->uid, on_message, slot);
}

static struct slice keep(struct slot *slot, size_t *used, struct slice part) {
    struct slice kept = {slot->room + *used, part.n};
    if (part.n) memcpy(slot->room + *used, part.p, part.n);
    *used += part.n;
    return kept;
}

static void on_cached_one(void *ctx, int error, size_t count, const struct mailbox_cached cached[]) {
    struct slot *slot = ctx;
    struct session *s = slot->s;
    if (!session_resume(s)) return;
    if (error || !count) {
        slot_failed(slot, error ? error : STORE_NOT_FOUND);
        run(s);
        return;
    }
    size_t need = cached->envelope.n + cached->bodystructure.n + cached->header.n + cached->preview.n + 1, used = 0;
    if (need > slot->cap) slot->room = arena_alloc(s->arena, slot->cap = need * 2);
    slot->cached.uid = cached->uid;
    slot->cached.envelope = keep(slot, &used, cached->envelope);
    slot->cached.preview = keep(slot, &used, cached->preview);
    slot->cached.bodystructure = keep(slot, &used, cached->bodystructure);
    slot->cached.header = keep(slot, &used, cached->header);
    slot->has_cached = true;
    read_message(slot);
}

/* False when the bound of running requests is reached. */
static bool ask_message(struct session *s) {
    struct fetch_job *job = s->job;
    struct slot *slot = job->slots;
    const struct mailbox_record *r = view_find(&s->view, job->uids[job->next]);
    if (!r) {
        job->next++;
        return true;
    }
    const struct fetch_item *range = job->items.range;
    uint32_t size = range && range->length < r->size ? range->length : r->size;
    if (job->in_flight == LIMIT_READ_AHEAD || (job->in_flight && job->bytes_in_flight + size > LIMIT_READ_AHEAD_BYTES))
        return false;
    while (slot->busy) slot++;
    if (!budget_take(&s->imapd->process->budget, size, &slot->taken)) {
        if (job->in_flight) return false;
        if (job->waits++ < LIMIT_ROOM_WAIT_S) {
            s->waits_for_room = true;
            s->on_drained = run;
            return false;
        }
        job->no_room = true;
        job->next = job->count;
        return true;
    }
    job->waits = 0;
    job->next++;
    slot->s = s;
    slot->busy = true;
    slot->has_cached = false;
    slot->uid = r->uid;
    slot->size = size;
    job->in_flight++;
    job->bytes_in_flight += size;
    if (job->items.columns) {
        session_wait(s);
        mailbox_cached(session_redis(s), session_user(s), s->view.folder_id, job->items.columns, 1, &slot->uid,
                       on_cached_one, slot);
    } else {
        read_message(slot);
    }
    return true;
}

static void run(struct session *s) {
    struct fetch_job *job = s->job;
    s->on_drained = NULL;
    for (;;) {
        if (!write_kept(s) || stream_pending_output(s->stream) > LIMIT_OUTPUT_PENDING) {
            s->on_drained = run;
            return;
        }
        if (job->next == job->count || job->error) break;
        if (job->items.needs_message) {
            if (!ask_message(s)) break;
        } else if (job->items.columns) {
            if (job->in_flight) break;
            ask_batch(s);
        } else {
            write_message(s, job->uids[job->next], NULL, NULL, NULL);
            job->next++;
        }
    }
    session_flush(s);
    if (!job->in_flight && !s->on_drained && (job->next == job->count || job->error)) end(s);
}

/* Preparation: \Seen, the mod-sequence filter, vanished messages */

static void on_seen(void *ctx, int error, uint32_t generation, size_t changed_count,
                    const struct mailbox_record changed[], size_t refused_count, const uint32_t refused[]) {
    struct session *s = ctx;
    (void)refused_count, (void)refused;
    if (!session_resume(s)) return;
    struct fetch_job *job = s->job;
    uint64_t modseq = 0;
    if (error && error != STORE_FULL) { /* reading continues when the store is full */
        job->error = error;
        end(s);
        return;
    }
    job->flagged = arena_alloc(s->arena, job->count * sizeof *job->flagged + 1);
    size_t at = 0;
    for (size_t i = 0; i < changed_count; i++) {
        if (changed[i].modseq > modseq) modseq = changed[i].modseq;
        while (at < job->count && job->uids[at] < changed[i].uid) at++;
        if (at < job->count && job->uids[at] == changed[i].uid) job->flagged[at] = true;
    }
    view_learn(&s->view, generation, changed_count, changed);
    if (changed_count) publish_changed(s, s->view.folder_id, modseq, "flags");
    run(s);
}

static void set_seen(struct session *s) {
    struct fetch_job *job = s->job;
    uint32_t *unseen = arena_alloc(s->arena, (job->count + 1) * sizeof *unseen);
    size_t n = 0;
    if (job->items.sets_seen && !s->view.read_only) {
        for (size_t i = 0; i < job->count; i++) {
            const struct mailbox_record *r = view_find(&s->view, job->uids[i]);
            if (r && !(r->flags & MAILBOX_SEEN)) unseen[n++] = r->uid;
        }
    }
    if (!n) {
        run(s);
        return;
    }
    session_wait(s);
    mailbox_store(session_redis(s), session_user(s), s->view.folder_id, n, unseen, MAILBOX_ADD, MAILBOX_SEEN, 0, NULL,
                  0, on_seen, s);
}

static void on_vanished(void *ctx, int error, const struct mailbox_folder *folder, bool full, size_t count,
                        const struct mailbox_record records[], size_t vanished_count, const uint32_t vanished[]) {
    struct session *s = ctx;
    (void)folder, (void)count, (void)records;
    if (!session_resume(s)) return;
    struct fetch_job *job = s->job;
    struct buf gone = {0};
    if (error) {
        session_no_store(s, error);
        return;
    }
    write_vanished(&gone, &s->view, &job->set, full, vanished_count, vanished);
    if (gone.n) session_untagged(s, "VANISHED (EARLIER) %s\r\n", buf_str(&gone));
    buf_free(&gone);
    set_seen(s);
}

/* "(CHANGEDSINCE 12345 VANISHED PARTIAL 1:100)" */
static bool parse_modifiers(struct parser *p, struct fetch_job *job) {
    if (!parse_char(p, '(')) return false;
    do {
        if (parse_word(p, "VANISHED"))
            job->vanished = true;
        else if (!job->has_partial && parse_word(p, "PARTIAL")) {
            if (!parse_space(p) || !parse_partial(p, &job->partial)) return false;
            job->has_partial = true;
        } else if (!parse_word(p, "CHANGEDSINCE") || !parse_space(p) || !parse_u64(p, &job->changed_since))
            return false;
    } while (parse_space(p));
    return parse_char(p, ')') && (!job->vanished || job->changed_since);
}

/* RFC 9394 §3.3: first the part, then CHANGEDSINCE (§3.4). */
static void keep_part(struct fetch_job *job) {
    size_t from;
    job->count = partial_of(&job->partial, job->count, &from);
    job->uids += from;
}

static void keep_changed(struct session *s) {
    struct fetch_job *job = s->job;
    size_t n = 0;
    for (size_t i = 0; i < job->count; i++) {
        const struct mailbox_record *r = view_find(&s->view, job->uids[i]);
        if (r && r->modseq > job->changed_since) job->uids[n++] = r->uid;
    }
    job->count = n;
    if (job->items.has_modseq) return;
    job->items.items[job->items.count++] =
        (struct fetch_item){.kind = FETCH_MODSEQ}; /* added implicitly (RFC 7162 §3.1.4.1) */
    job->items.has_modseq = true;
}

void cmd_fetch(struct session *s, struct parser *p) {
    struct fetch_job *job = arena_alloc(s->arena, sizeof *job);
    s->job = job;
    s->release = release;
    job->last = &job->first;
    job->batch = LIMIT_CACHED_FIRST;
    bool ok = parse_space(p) && parse_set(p, &job->set) && parse_space(p) && parse_fetch_items(p, &job->items);
    if (ok && parse_space(p)) ok = parse_modifiers(p, job);
    if (!ok || !parse_end(p) || (job->vanished && (!s->by_uid || !s->qresync)) || (job->has_partial && !s->by_uid)) {
        session_bad(s, "FETCH requires a message set and data items");
        return;
    }
    fetch_plan(&job->items);
    if (resolve_set(s, &job->set, &job->uids, &job->count) != 0) {
        session_bad(s, "No such message");
        return;
    }
    if (job->items.has_modseq || job->changed_since) s->condstore = true;
    if (job->has_partial) keep_part(job);
    if (job->changed_since) keep_changed(s);
    if (!job->vanished) {
        set_seen(s);
        return;
    }
    session_wait(s);
    mailbox_sync(session_redis(s), session_user(s), s->view.folder_id, job->changed_since, on_vanished, s);
}
