/* The import of a Maildir: its INBOX, and the folders beside it (Maildir++) or below it. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libcommon/base/arena.h"
#include "services/cli/mailbox/transfer.h"

struct entry {
    char *path;
    struct maildir_name name; /* views of path */
};

struct list {
    struct entry *entries;
    size_t count, room;
};

/* By the time in the name, then by name, which is the order in which they arrived. */
static int by_name(const void *one, const void *other) {
    const struct entry *a = one, *b = other;
    if (a->name.time != b->name.time) return a->name.time < b->name.time ? -1 : 1;
    return strcmp(strrchr(a->path, '/'), strrchr(b->path, '/'));
}

static void list_directory(const char *directory, const char *part, struct list *list) {
    struct buf path = {0};
    buf_printf(&path, "%s/%s", directory, part);
    DIR *d = opendir(buf_str(&path));
    for (struct dirent *e; d && (e = readdir(d));) {
        struct maildir_name name;
        if (!maildir_name_read(slice_of(e->d_name), &name)) continue;
        if (list->count == list->room) {
            list->room = list->room ? list->room * 2 : 256;
            struct entry *more = memory_alloc(list->room * sizeof *more);
            if (list->count) memcpy(more, list->entries, list->count * sizeof *more);
            free(list->entries);
            list->entries = more;
        }
        buf_reset(&path);
        buf_printf(&path, "%s/%s/%s", directory, part, e->d_name);
        struct entry *added = &list->entries[list->count++];
        added->path = memory_copy(buf_slice(&path));
        maildir_name_read(slice_of(strrchr(added->path, '/') + 1), &added->name);
    }
    if (d) closedir(d);
    buf_free(&path);
}

static void add_keywords(const struct entry *e, const struct slice names[MAILDIR_KEYWORDS_MAX], struct slice more,
                         struct buf *out) {
    for (int i = 0; i < MAILDIR_KEYWORDS_MAX; i++) {
        if (!(e->name.keywords & 1u << i) || !names[i].n) continue;
        if (out->n) buf_add_char(out, ' ');
        buf_add_slice(out, names[i]);
    }
    /* postbus-keywords has those for which there was no letter: "<unique><TAB><keywords>" */
    for (struct slice line; slice_cut(&more, '\n', &line);) {
        struct slice unique;
        if (!slice_cut(&line, '\t', &unique) || !slice_equal(unique, e->name.unique)) continue;
        if (out->n) buf_add_char(out, ' ');
        buf_add_slice(out, line);
    }
}

static int import_entry(struct transfer *t, const struct entry *e, const struct slice names[MAILDIR_KEYWORDS_MAX],
                        struct slice more) {
    struct buf file = {0}, message = {0}, keywords = {0};
    struct stat st;
    int failed = CLI_OK;
    if (stat(e->path, &st) != 0 || !file_read(e->path, &file)) {
        fprintf(stderr, "postbus: cannot read %s: %s\n", e->path, strerror(errno));
        transfer_count(t, TRANSFER_FAILED);
    } else {
        maildir_message_read(buf_slice(&file), &message);
        add_keywords(e, names, more, &keywords);
        failed = import_message(t, buf_slice(&message), st.st_mtime, e->name.flags, buf_slice(&keywords), e->path);
    }
    buf_free(&file);
    buf_free(&message);
    buf_free(&keywords);
    return failed;
}

/* One folder: directory has cur and new. */
static int import_folder(struct transfer *t, const char *directory, const char *folder, bool subscribed) {
    char *name = transfer_map(t, folder);
    struct list list = {0};
    struct buf path = {0}, text = {0}, more = {0};
    struct slice names[MAILDIR_KEYWORDS_MAX];
    if (!name) return CLI_OK;
    list_directory(directory, "cur", &list);
    list_directory(directory, "new", &list);
    if (list.count) qsort(list.entries, list.count, sizeof *list.entries, by_name);
    buf_printf(&path, "%s/dovecot-keywords", directory);
    file_read(buf_str(&path), &text);
    maildir_keywords_read(buf_slice(&text), names);
    buf_reset(&path);
    buf_printf(&path, "%s/postbus-keywords", directory);
    file_read(buf_str(&path), &more);
    transfer_folder(t, name, list.count);
    int failed = import_open_folder(t, name, subscribed);
    for (size_t i = 0; i < list.count; i++) {
        if (!failed) failed = import_entry(t, &list.entries[i], names, buf_slice(&more));
        free(list.entries[i].path);
    }
    transfer_folder_end(t);
    free(list.entries);
    free(name);
    buf_free(&path);
    buf_free(&text);
    buf_free(&more);
    return failed;
}

/* Whether the list of subscriptions has this folder; everything is subscribed when there is no list. */
static bool is_subscribed(struct slice list, const char *folder) {
    struct buf name = {0};
    size_t at = 0;
    bool found = !list.n;
    while (!found && maildir_subscription_next(list, '.', &at, &name)) {
        found = slice_is(buf_slice(&name), folder);
        buf_reset(&name);
    }
    buf_free(&name);
    return found;
}

static int compare_texts(const void *one, const void *other) {
    return strcmp(*(char *const *)one, *(char *const *)other);
}

int import_maildir(struct transfer *t, const char *path) {
    struct buf file = {0}, subscriptions = {0};
    char *names[1000];
    size_t count = 0;
    buf_printf(&file, "%s/subscriptions", path);
    file_read(buf_str(&file), &subscriptions);
    int failed = import_folder(t, path, "INBOX", true);
    DIR *d = opendir(path);
    for (struct dirent *e; d && count < sizeof names / sizeof *names && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            names[count++] = memory_copy(slice_of(e->d_name));
    if (d) closedir(d);
    if (count) qsort(names, count, sizeof *names, compare_texts);
    for (size_t i = 0; i < count; i++) {
        struct buf folder = {0};
        struct stat st;
        buf_reset(&file);
        buf_printf(&file, "%s/%s/cur", path, names[i]);
        if (!failed && maildir_folder_read(slice_of(names[i]), &folder) && stat(buf_str(&file), &st) == 0) {
            buf_reset(&file);
            buf_printf(&file, "%s/%s", path, names[i]);
            failed = import_folder(t, buf_str(&file), buf_str(&folder),
                                   is_subscribed(buf_slice(&subscriptions), buf_str(&folder)));
        }
        buf_free(&folder);
        free(names[i]);
    }
    buf_free(&file);
    buf_free(&subscriptions);
    return failed;
}
