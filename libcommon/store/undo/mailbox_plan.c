/* What folders and messages were at the moment of a restore. */
#include "libcommon/store/undo/mailbox_restore.h"

/* Whether a folder of this name is asked for: itself, or one above it. */
static bool is_wanted(const struct restoring *o, struct slice name) {
    struct slice asked = o->what.folder;
    if (!asked.n) return true;
    return slice_starts(name, asked) && (name.n == asked.n || name.p[asked.n] == '/');
}

static void folder_add(struct restoring *o, uint32_t id, bool deleted, struct slice name, struct slice special_use,
                       struct slice keywords) {
    name = journal_name(o->journal, id, name);
    if (!is_wanted(o, name)) return;
    o->folders[o->folder_count++] = (struct plan_folder){.id = id,
                                                         .deleted = deleted,
                                                         .name = arena_slice(o->arena, name),
                                                         .special_use = arena_slice(o->arena, special_use),
                                                         .keywords = arena_slice(o->arena, keywords)};
}

void plan_folders(struct restoring *o, size_t count, const struct mailbox_folder folders[]) {
    o->folders = memory_alloc((count + o->journal->count + 1) * sizeof *o->folders);
    /* without a moment, of a folder that is there only named messages are put back */
    for (size_t i = 0; i < count && (o->what.at || o->what.message_count); i++) {
        struct buf keywords = mailbox_join_keywords(folders[i].keyword_count, folders[i].keywords);
        folder_add(o, folders[i].id, false, folders[i].name, folders[i].special_use, buf_slice(&keywords));
        buf_free(&keywords);
    }
    /* the last ones first: without a moment, of two deleted folders of one name that one is meant */
    for (size_t i = o->journal->count; i-- > 0;) {
        const struct journal_entry *e = &o->journal->entries[i];
        struct journal_folder f;
        if (e->kind != 'd' || !journal_folder_read(e->value, &f) || (o->what.at && f.made > o->what.at)) continue;
        bool again = false;
        for (size_t k = 0; k < o->folder_count && !o->what.at && !o->what.message_count; k++)
            again = again || slice_equal(o->folders[k].name, f.name);
        if (!again) folder_add(o, e->folder, true, f.name, f.special_use, f.keywords);
    }
}

static bool is_asked(const struct restoring *o, const char *blob) {
    if (!o->what.message_count) return true;
    for (size_t i = 0; i < o->what.message_count; i++)
        if (slice_is(o->what.messages[i], blob)) return true;
    return false;
}

/* Without a moment, each message is put back where it was last. */
static bool is_elsewhere(struct restoring *o, const struct plan_folder *f, const struct mailbox_record *record) {
    for (const struct plan_folder *other = o->folders; !o->what.at && other < f; other++)
        for (size_t i = 0; i < other->count; i++)
            if (strcmp(other->items[i].blob, record->blob) == 0) return true;
    return false;
}

void plan_add(struct restoring *o, struct plan_folder *f, const struct mailbox_record *record, struct slice entry) {
    const struct journal_state *s =
        o->what.at ? journal_state_find(o->state_count, o->states, f->id, record->uid) : NULL;
    if (o->what.at && record->savedate > o->what.at) return;
    if (!is_asked(o, record->blob) || is_elsewhere(o, f, record)) return;
    if (f->count == f->room) {
        f->room = f->room ? 2 * f->room : 64;
        f->items = memory_resize(f->items, f->room * sizeof *f->items);
    }
    struct plan_item *item = &f->items[f->count++];
    *item = (struct plan_item){.entry = entry,
                               .folder = f->id,
                               .uid = record->uid,
                               .variant = record->variant,
                               .flags = s ? s->flags : record->flags};
    memcpy(item->blob, record->blob, sizeof item->blob);
}

void plan_removed(struct restoring *o, struct plan_folder *f) {
    size_t low = 0, high = o->state_count; /* the first state of this folder, or of one behind it */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (o->states[mid].folder < f->id)
            low = mid + 1;
        else
            high = mid;
    }
    for (size_t i = low; i < o->state_count && o->states[i].folder == f->id; i++) {
        const struct journal_state *s = &o->states[i];
        struct mailbox_record record;
        struct slice rest = s->removed;
        if (!s->entry || !journal_take_removed(&rest, &record)) continue;
        if (!o->what.at && s->entry->kind == 'm') continue;  /* it is where it was moved to */
        if (!o->what.at && !o->what.message_count) continue; /* the folder as it was deleted */
        /* whose keywords may have had other meanings then */
        if (s->entry->at <= o->journal->stat.from) record.flags &= 0xff;
        plan_add(o, f, &record, s->entry->id);
    }
}

static int by_uid(const void *one, const void *other) {
    const struct plan_item *a = one, *b = other;
    return (a->uid > b->uid) - (a->uid < b->uid);
}

void plan_settle(struct restoring *o, struct plan_folder *f) {
    size_t kept = 0;
    (void)o;
    if (f->count) qsort(f->items, f->count, sizeof *f->items, by_uid);
    for (size_t i = 0; i < f->count; i++) {
        bool again = kept && f->items[kept - 1].uid == f->items[i].uid;
        if (!again) f->items[kept++] = f->items[i];
    }
    f->count = kept;
}
