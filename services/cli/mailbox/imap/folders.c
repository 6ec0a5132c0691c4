/* Which folders the source has, and what they are called here. */
#include <stdio.h>
#include <stdlib.h>

#include "services/cli/mailbox/imap/command.h"

struct listing {
    struct source_folder *folders;
    size_t count, room;
    char *separators;      /* of each folder */
    struct buf subscribed; /* the names that LSUB told, each with its length before it */
    bool knows_subscribed;
    struct {
        bool personal;
        char *prefix;
    } namespaces[IMAP_NAMESPACES_MAX];
    size_t namespace_count;
};

static bool on_namespace(void *ctx, const struct imap_answer *a, bool cut) {
    struct listing *l = ctx;
    (void)cut;
    if (a->kind != IMAP_NAMESPACE || l->namespace_count) return true;
    for (size_t i = 0; i < a->namespace_count; i++) {
        l->namespaces[i].personal = a->namespaces[i].personal;
        l->namespaces[i].prefix = memory_copy(a->namespaces[i].prefix);
    }
    l->namespace_count = a->namespace_count;
    return true;
}

static bool on_listed(void *ctx, const struct imap_answer *a, bool cut) {
    struct listing *l = ctx;
    if (a->kind != IMAP_LIST || cut || !a->name.n || memchr(a->name.p, 0, a->name.n)) return true;
    if (l->count == SOURCE_FOLDERS_MAX) return false;
    if (l->count == l->room) {
        l->room = l->room ? l->room * 2 : 64;
        l->folders = memory_resize(l->folders, l->room * sizeof *l->folders);
        l->separators = memory_resize(l->separators, l->room);
    }
    l->separators[l->count] = a->separator;
    l->folders[l->count++] = (struct source_folder){.name = memory_copy(a->name), .flags = memory_copy(a->flags)};
    return true;
}

static bool on_subscribed(void *ctx, const struct imap_answer *a, bool cut) {
    struct listing *l = ctx;
    if ((a->kind != IMAP_LSUB && a->kind != IMAP_LIST) || cut) return true;
    if (l->subscribed.n > (size_t)SOURCE_FOLDERS_MAX * 1000) return false;
    buf_add(&l->subscribed, &a->name.n, sizeof a->name.n);
    buf_add_slice(&l->subscribed, a->name);
    return true;
}

static bool is_subscribed(const struct listing *l, const char *name) {
    size_t n;
    if (!l->knows_subscribed) return true;
    for (size_t at = 0; at < l->subscribed.n; at += n) {
        memcpy(&n, l->subscribed.data + at, sizeof n);
        at += sizeof n;
        if (slice_is(slice_make(l->subscribed.data + at, n), name)) return true;
    }
    return false;
}

/* The prefix of the user's own namespace that name is in. False: it is another user's, or shared. */
static bool own_prefix(const struct listing *l, const char *name, struct slice *prefix) {
    size_t best = SIZE_MAX;
    *prefix = SLICE("");
    for (size_t i = 0; i < l->namespace_count; i++) {
        struct slice one = slice_of(l->namespaces[i].prefix);
        if (slice_starts(slice_of(name), one) && (best == SIZE_MAX || one.n > slice_of(l->namespaces[best].prefix).n))
            best = i;
    }
    if (best == SIZE_MAX) return true; /* INBOX, beside a namespace "INBOX." */
    *prefix = slice_of(l->namespaces[best].prefix);
    return l->namespaces[best].personal;
}

/* Keeps the folders that can be opened, with their names. */
static void choose(struct listing *l) {
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++) {
        struct source_folder f = l->folders[i];
        struct slice prefix;
        if (!own_prefix(l, f.name, &prefix) || imap_word_has(slice_of(f.flags), "\\Noselect") ||
            imap_word_has(slice_of(f.flags), "\\NonExistent")) {
            free(f.name);
            free(f.flags);
            continue;
        }
        struct buf target = {0};
        if (imap_folder_name(slice_of(f.name), l->separators[i], prefix, &target))
            f.target = memory_copy(buf_slice(&target));
        buf_free(&target);
        f.subscribed = is_subscribed(l, f.name);
        l->folders[kept++] = f;
    }
    l->count = kept;
}

enum source_result source_folders(struct source *s, struct source_folder **folders, size_t *count) {
    struct listing l = {0};
    bool extended = command_can(s, "LIST-EXTENDED") && command_can(s, "SPECIAL-USE"); /* RFC 6154 §2 */
    enum source_result result = SOURCE_OK;
    if (command_can(s, "NAMESPACE")) result = command_run(s, SLICE("NAMESPACE"), on_namespace, &l);
    if (result == SOURCE_OK || result == SOURCE_NO)
        result = command_run(s, extended ? SLICE("LIST \"\" \"*\" RETURN (SPECIAL-USE)") : SLICE("LIST \"\" \"*\""),
                             on_listed, &l);
    if (result == SOURCE_OK) {
        result = command_run(s, SLICE("LSUB \"\" \"*\""), on_subscribed, &l);
        l.knows_subscribed = result == SOURCE_OK;
        if (result == SOURCE_NO) result = SOURCE_OK;
    }
    choose(&l);
    *folders = l.folders;
    *count = l.count;
    for (size_t i = 0; i < l.namespace_count; i++) free(l.namespaces[i].prefix);
    free(l.separators);
    buf_free(&l.subscribed);
    return result;
}

void source_folders_free(struct source_folder *folders, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(folders[i].name);
        free(folders[i].target);
        free(folders[i].flags);
    }
    free(folders);
}
