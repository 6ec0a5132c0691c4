/* The export of folders: as a Maildir that Dovecot and others read, or as an mbox file for each folder. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/member.h"
#include "services/cli/mailbox/mbox.h"
#include "services/cli/mailbox/transfer.h"

static long long number(const json_t *object, const char *name) {
    return (long long)json_integer_value(json_object_get(object, name));
}

int export_read(struct transfer *t, const char *folder, unsigned uid, struct buf *out) {
    struct buf path = {0};
    int failed = CLI_UNAVAILABLE;
    buf_add_str(&path, "/api/v1/accounts/");
    api_add(&path, t->address);
    buf_printf(&path, "/messages/raw?uid=%u&folder=", uid);
    api_add(&path, folder);
    for (int tries = 0; tries < TRANSFER_TRIES && failed == CLI_UNAVAILABLE; tries++) {
        if (tries) sleep(2);
        buf_reset(out);
        failed = api_call_text(t->c, buf_str(&path), "message/rfc822", out);
    }
    buf_free(&path);
    return failed;
}

/* Maildir
 *
 * The name of a message is "<time>.<uidvalidity>_<uid>.postbus": the same at each export, so that an interrupted export
 * is continued, and a repeated one adds what is new and renames what has other flags. */

struct exporting {
    struct transfer *t;
    const char *folder;
    struct buf directory;
    char *keywords[MAILDIR_KEYWORDS_MAX]; /* of the letters; NULL: free */
    struct buf more;                      /* postbus-keywords: what had no letter left */
    char **names;                         /* the files that cur has, sorted */
    size_t count;
};

static int compare_texts(const void *one, const void *other) {
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static void list_cur(struct exporting *e) {
    struct buf path = {0};
    size_t room = 0;
    buf_printf(&path, "%s/cur", buf_str(&e->directory));
    DIR *d = opendir(buf_str(&path));
    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (entry->d_name[0] == '.') continue;
        if (e->count == room) {
            room = room ? room * 2 : 256;
            char **more = memory_alloc(room * sizeof *more);
            if (e->count) memcpy(more, e->names, e->count * sizeof *more);
            free(e->names);
            e->names = more;
        }
        e->names[e->count++] = memory_copy(slice_of(entry->d_name));
    }
    if (d) closedir(d);
    if (e->count) qsort(e->names, e->count, sizeof *e->names, compare_texts);
    buf_free(&path);
}

/* The file whose name begins with unique and "," ; NULL: there is none. */
static const char *present(const struct exporting *e, const char *unique) {
    size_t low = 0, high = e->count, n = strlen(unique);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(e->names[middle], unique) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < e->count && strncmp(e->names[low], unique, n) == 0 &&
                   (e->names[low][n] == ',' || e->names[low][n] == ':')
               ? e->names[low]
               : NULL;
}

/* The letters of the keywords; those without a letter are noted in more. */
static uint32_t letters_of(struct exporting *e, struct slice words, const char *unique) {
    uint32_t letters = 0;
    bool noted = false;
    while (words.n) {
        struct slice one;
        int i = 0;
        if (!slice_cut(&words, ' ', &one)) {
            one = words;
            words.n = 0;
        }
        while (i < MAILDIR_KEYWORDS_MAX && e->keywords[i] && !slice_is(one, e->keywords[i])) i++;
        if (i < MAILDIR_KEYWORDS_MAX) {
            if (!e->keywords[i]) e->keywords[i] = memory_copy(one);
            letters |= 1u << i;
            continue;
        }
        buf_printf(&e->more, "%s%s%.*s", noted ? " " : unique, noted ? "" : "\t", SLICE_FMT(one));
        noted = true;
    }
    if (noted) buf_add_char(&e->more, '\n');
    return letters;
}

static int export_one(struct exporting *e, const json_t *m, long long uidvalidity, struct buf *message) {
    struct buf keywords = {0}, name = {0}, from = {0}, to = {0};
    char unique[100];
    int failed = CLI_OK;
    uint32_t flags = flags_read(json_object_get(m, "flags"), &keywords);
    snprintf(unique, sizeof unique, "%lld.%lld_%010lld.postbus", number(m, "date"), uidvalidity, number(m, "uid"));
    const char *there = present(e, unique);
    maildir_name_write(slice_of(unique), (uint64_t)number(m, "size"), flags,
                       letters_of(e, buf_slice(&keywords), unique), &name);
    buf_printf(&to, "%s/cur/%s", buf_str(&e->directory), buf_str(&name));
    if (there) {
        buf_printf(&from, "%s/cur/%s", buf_str(&e->directory), there);
        if (strcmp(there, buf_str(&name)) != 0 && rename(buf_str(&from), buf_str(&to)) != 0) failed = CLI_FAILED;
        transfer_count(e->t, TRANSFER_SKIPPED);
    } else {
        buf_printf(&from, "%s/tmp/%s", buf_str(&e->directory), unique);
        failed = export_read(e->t, e->folder, (unsigned)number(m, "uid"), message);
        if (!failed && !file_write(buf_str(&from), buf_str(&to), buf_slice(message), number(m, "date")))
            failed = CLI_UNAVAILABLE;
        transfer_count(e->t, failed ? TRANSFER_FAILED : TRANSFER_DONE);
        if (failed == CLI_FAILED) failed = CLI_OK; /* it was removed in the meantime */
    }
    buf_free(&keywords);
    buf_free(&name);
    buf_free(&from);
    buf_free(&to);
    return failed;
}

/* dovecot-keywords, before the first message whose name needs it. */
static void read_keywords(struct exporting *e) {
    struct buf path = {0}, text = {0};
    struct slice names[MAILDIR_KEYWORDS_MAX];
    buf_printf(&path, "%s/dovecot-keywords", buf_str(&e->directory));
    file_read(buf_str(&path), &text);
    maildir_keywords_read(buf_slice(&text), names);
    for (int i = 0; i < MAILDIR_KEYWORDS_MAX && names[i].n; i++) e->keywords[i] = memory_copy(names[i]);
    buf_free(&path);
    buf_free(&text);
}

static bool write_list(const struct exporting *e, const char *file, struct slice text) {
    struct buf path = {0}, temporary = {0};
    buf_printf(&path, "%s/%s", buf_str(&e->directory), file);
    buf_printf(&temporary, "%s/tmp/%s", buf_str(&e->directory), file);
    bool written = text.n == 0 || file_write(buf_str(&temporary), buf_str(&path), text, 0);
    buf_free(&path);
    buf_free(&temporary);
    return written;
}

int export_maildir(struct transfer *t, const char *directory, const char *folder, const json_t *list) {
    struct exporting e = {.t = t, .folder = folder};
    struct buf message = {0}, path = {0}, text = {0};
    size_t i;
    json_t *each, *messages = json_object_get(list, "messages");
    int failed = CLI_OK;
    transfer_folder(t, folder, json_array_size(messages));
    buf_printf(&e.directory, "%s", directory);
    if (strcmp(folder, "INBOX") != 0) {
        buf_add_char(&e.directory, '/');
        if (!maildir_folder_write(slice_of(folder), &e.directory)) {
            fprintf(stderr, "postbus: the name of the folder %s is too long for a directory: it was left out\n",
                    folder);
            t->failed += json_array_size(messages);
            transfer_folder_end(t);
            buf_free(&e.directory);
            return CLI_OK;
        }
    }
    for (int k = 0; k < 3 && !failed; k++) {
        buf_reset(&path);
        buf_printf(&path, "%s/%s", buf_str(&e.directory), (const char *[]){"cur", "new", "tmp"}[k]);
        if (!file_make_directory(buf_str(&path))) failed = CLI_FAILED;
    }
    if (!failed) read_keywords(&e);
    list_cur(&e);
    json_array_foreach(messages, i, each) {
        if (failed) break;
        failed = export_one(&e, each, number(list, "uidvalidity"), &message);
    }
    for (int k = 0; k < MAILDIR_KEYWORDS_MAX && e.keywords[k]; k++) buf_printf(&text, "%d %s\n", k, e.keywords[k]);
    if (!write_list(&e, "dovecot-keywords", buf_slice(&text)) ||
        !write_list(&e, "postbus-keywords", buf_slice(&e.more)))
        failed = failed ? failed : CLI_FAILED;
    transfer_folder_end(t);
    for (int k = 0; k < MAILDIR_KEYWORDS_MAX; k++) free(e.keywords[k]);
    for (size_t k = 0; k < e.count; k++) free(e.names[k]);
    free(e.names);
    buf_free(&e.directory);
    buf_free(&e.more);
    buf_free(&message);
    buf_free(&path);
    buf_free(&text);
    return failed;
}

int export_subscriptions(const char *directory, const json_t *folders) {
    struct buf text = {0}, path = {0}, temporary = {0};
    size_t i;
    json_t *each;
    buf_add_str(&text, "V\t2\n\n");
    json_array_foreach(folders, i, each) if (json_is_true(json_object_get(each, "subscribed")))
        maildir_subscription_write(slice_of(member_text(each, "name")), &text);
    buf_printf(&path, "%s/subscriptions", directory);
    buf_printf(&temporary, "%s/subscriptions.new", directory);
    int failed = file_write(buf_str(&temporary), buf_str(&path), buf_slice(&text), 0) ? CLI_OK : CLI_FAILED;
    buf_free(&text);
    buf_free(&path);
    buf_free(&temporary);
    return failed;
}

/* mbox: the file of a folder is written anew at each export, beside the former one, which it then replaces. */

static void add_file_name(const char *folder, struct buf *path) {
    for (const char *c = folder; *c; c++) {
        bool first = c == folder || c[-1] == '/';
        if (*c == '%' || (unsigned char)*c < ' ' || *c == 0x7f || (first && *c == '.'))
            buf_printf(path, "%%%02X", (unsigned char)*c);
        else
            buf_add_char(path, *c);
    }
}

int export_mbox(struct transfer *t, const char *directory, const char *folder, const json_t *list) {
    struct buf path = {0}, temporary = {0}, message = {0}, packed = {0};
    size_t i;
    json_t *each, *messages = json_object_get(list, "messages");
    int failed = CLI_OK;
    transfer_folder(t, folder, json_array_size(messages));
    buf_printf(&path, "%s/", directory);
    add_file_name(folder, &path);
    char *slash = strrchr(path.data, '/');
    *slash = 0;
    if (!file_make_directory(path.data)) failed = CLI_FAILED;
    *slash = '/';
    buf_add_str(&path, ".mbox");
    buf_printf(&temporary, "%s.part", buf_str(&path));
    FILE *f = failed ? NULL : fopen(buf_str(&temporary), "we");
    json_array_foreach(messages, i, each) {
        struct buf keywords = {0};
        if (failed || !f) break;
        uint32_t flags = flags_read(json_object_get(each, "flags"), &keywords);
        if (flags & MAILDIR_PASSED) buf_add_str(&keywords, keywords.n ? " $Forwarded" : "$Forwarded");
        failed = export_read(t, folder, (unsigned)number(each, "uid"), &message);
        buf_reset(&packed);
        if (!failed)
            mbox_pack(buf_slice(&message), SLICE(""), number(each, "date"), flags, buf_slice(&keywords), &packed);
        if (!failed && fwrite(packed.data, 1, packed.n, f) != packed.n) failed = CLI_UNAVAILABLE;
        transfer_count(t, failed ? TRANSFER_FAILED : TRANSFER_DONE);
        if (failed == CLI_FAILED) failed = CLI_OK; /* it was removed in the meantime */
        buf_free(&keywords);
    }
    bool written = f && fflush(f) == 0 && fdatasync(fileno(f)) == 0;
    if (f && fclose(f) != 0) written = false;
    if (!failed && (!written || rename(buf_str(&temporary), buf_str(&path)) != 0)) {
        perror(buf_str(&path));
        failed = CLI_FAILED;
    }
    transfer_folder_end(t);
    buf_free(&path);
    buf_free(&temporary);
    buf_free(&message);
    buf_free(&packed);
    return failed;
}
