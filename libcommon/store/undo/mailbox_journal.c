#include "libcommon/store/undo/mailbox_journal.h"

enum { PAGE = 200, FLAGS_BYTES = 12, HEAD_BYTES = 6, FOLDER_TEXTS = 8 };

struct reading {
    struct redis *r;
    char *key;
    journal_fn *done;
    void *ctx;
    struct journal *journal;
};

void mailbox_journal_free(struct journal *j) {
    arena_destroy(j->arena);
    free(j->entries);
    free(j);
}

static void ask_page(struct reading *g, struct slice after);

static void end(struct reading *g, int error) {
    g->done(g->ctx, error, g->journal);
    free(g->key);
    free(g);
}

static void on_page(void *ctx, const redisReply *reply) {
    struct reading *g = ctx;
    struct journal *j = g->journal;
    int error = mailbox_reply_array(reply, 4);
    const redisReply *list = mailbox_element(reply, 3);
    if (!error && list->type != REDIS_REPLY_ARRAY) error = STORE_INVALID;
    if (error) {
        end(g, error);
        return;
    }
    j->stat.from = redis_reply_integer(reply->element[0]) / 1000;
    j->stat.messages = (uint64_t)redis_reply_integer(reply->element[1]);
    j->stat.bytes = (uint64_t)redis_reply_integer(reply->element[2]);
    if (j->count + list->elements > j->room) {
        j->room = 2 * j->room + list->elements;
        j->entries = memory_resize(j->entries, j->room * sizeof *j->entries);
    }
    for (size_t i = 0; i < list->elements; i++) {
        const redisReply *one = list->element[i];
        struct slice id = redis_reply_slice(mailbox_element(one, 0)), kind = redis_reply_slice(mailbox_element(one, 1));
        struct slice rest = id, ms;
        uint64_t at;
        if (!slice_cut(&rest, '-', &ms) || slice_to_u64(ms, INT64_MAX, &at) != 0 || kind.n != 1) continue;
        j->entries[j->count++] =
            (struct journal_entry){.id = arena_slice(j->arena, id),
                                   .at = (int64_t)(at / 1000),
                                   .kind = *kind.p,
                                   .folder = (uint32_t)redis_reply_integer(mailbox_element(one, 2)),
                                   .value = arena_slice(j->arena, redis_reply_slice(mailbox_element(one, 3)))};
    }
    if (list->elements == PAGE && j->count)
        ask_page(g, j->entries[j->count - 1].id);
    else
        end(g, 0);
}

static void ask_page(struct reading *g, struct slice after) {
    char max[NUMBER_BYTES];
    struct slice args[] = {after, mailbox_number(max, PAGE)};
    mailbox_fcall(g->r, on_page, g, "mailbox_journal_read", g->key, 2, args);
}

void mailbox_journal_read(struct redis *r, const char *key, int64_t at, journal_fn *done, void *ctx) {
    char after[2 * NUMBER_BYTES];
    struct reading *g = memory_alloc(sizeof *g);
    *g = (struct reading){.r = r, .key = memory_copy(slice_of(key)), .done = done, .ctx = ctx};
    g->journal = memory_alloc(sizeof *g->journal);
    g->journal->arena = arena_create();
    /* the last id of the second `at` */
    int n = snprintf(after, sizeof after, "%lld999-18446744073709551615", (long long)at);
    ask_page(g, at ? slice_make(after, (size_t)n) : SLICE("-"));
}

bool journal_folder_read(struct slice value, struct journal_folder *out) {
    struct slice texts[FOLDER_TEXTS];
    uint64_t made;
    for (size_t i = 0; i < FOLDER_TEXTS; i++) {
        if (value.n < 4 || value.n - 4 < mailbox_u32(value.p)) return false;
        texts[i] = slice_make(value.p + 4, mailbox_u32(value.p));
        value = slice_skip(value, 4 + texts[i].n);
    }
    *out = (struct journal_folder){.name = texts[0], .special_use = texts[2], .keywords = texts[4]};
    if (slice_to_u64(texts[5], INT64_MAX, &made) != 0 || slice_to_u64(texts[6], INT64_MAX, &out->messages) != 0)
        return false;
    out->made = (int64_t)made;
    return true;
}

bool journal_take_removed(struct slice *value, struct mailbox_record *out) {
    if (value->n < HEAD_BYTES) return false;
    size_t n = (unsigned char)value->p[0] | (size_t)(unsigned char)value->p[1] << 8, prefix = mailbox_u32(value->p + 2);
    struct slice rest = slice_skip(*value, HEAD_BYTES), record = slice_head(rest, n);
    if (rest.n < n || rest.n - n < prefix || !mailbox_take_record(&record, out)) return false;
    *value = slice_skip(rest, n + prefix);
    return true;
}

/* States: each change is one, then all but the first of a message are dropped. */

struct change_of {
    struct journal_state state;
    size_t at; /* its number */
};

struct changes {
    size_t count, room;
    struct change_of *all;
};

static struct change_of *add(struct changes *c, uint32_t folder, uint32_t uid, uint64_t flags) {
    if (c->count == c->room) {
        c->room = c->room ? 2 * c->room : 256;
        c->all = memory_resize(c->all, c->room * sizeof *c->all);
    }
    c->all[c->count] = (struct change_of){.state = {.folder = folder, .uid = uid, .flags = flags}, .at = c->count};
    return &c->all[c->count++];
}

static int by_message(const void *one, const void *other) {
    const struct change_of *a = one, *b = other;
    if (a->state.folder != b->state.folder) return a->state.folder < b->state.folder ? -1 : 1;
    if (a->state.uid != b->state.uid) return a->state.uid < b->state.uid ? -1 : 1;
    return (a->at > b->at) - (a->at < b->at);
}

struct journal_state *journal_states(const struct journal *j, size_t *count) {
    struct changes c = {0};
    for (size_t i = 0; i < j->count; i++) {
        const struct journal_entry *e = &j->entries[i];
        struct slice rest = e->value;
        struct mailbox_record record;
        for (; e->kind == 'f' && rest.n >= FLAGS_BYTES; rest = slice_skip(rest, FLAGS_BYTES))
            add(&c, e->folder, mailbox_u32(rest.p), mailbox_u64(rest.p + 4));
        struct slice item = rest;
        while ((e->kind == 'r' || e->kind == 'm') && journal_take_removed(&rest, &record)) {
            struct change_of *one = add(&c, e->folder, record.uid, record.flags);
            one->state.entry = e;
            one->state.removed = item;
            item = rest;
        }
    }
    if (c.count) qsort(c.all, c.count, sizeof *c.all, by_message);
    struct journal_state *states = memory_alloc((c.count + 1) * sizeof *states);
    *count = 0;
    for (size_t i = 0; i < c.count; i++) {
        const struct journal_state *s = &c.all[i].state;
        struct journal_state *last = *count ? &states[*count - 1] : NULL;
        if (!last || last->folder != s->folder || last->uid != s->uid) {
            states[(*count)++] = *s;
        } else if (s->entry) { /* the first change tells its flags, the last one where it went */
            last->entry = s->entry;
            last->removed = s->removed;
        }
    }
    free(c.all);
    return states;
}

const struct journal_state *journal_state_find(size_t count, const struct journal_state states[], uint32_t folder,
                                               uint32_t uid) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct journal_state *s = &states[mid];
        if (s->folder < folder || (s->folder == folder && s->uid < uid))
            low = mid + 1;
        else
            high = mid;
    }
    return low < count && states[low].folder == folder && states[low].uid == uid ? &states[low] : NULL;
}

struct slice journal_name(const struct journal *j, uint32_t folder, struct slice name) {
    for (size_t i = 0; i < j->count; i++)
        if (j->entries[i].kind == 'n' && j->entries[i].folder == folder) return j->entries[i].value;
    return name;
}
