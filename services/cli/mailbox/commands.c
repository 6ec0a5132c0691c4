/* postbus mailbox export, postbus mailbox import. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/member.h"
#include "services/cli/mailbox/transfer.h"

enum format { FORMAT_MAILDIR, FORMAT_MBOX, FORMAT_IMAP, FORMAT_UNKNOWN };

static enum format format_of(const char *name) {
    if (strcmp(name, "maildir") == 0) return FORMAT_MAILDIR;
    if (strcmp(name, "mbox") == 0) return FORMAT_MBOX;
    fputs("postbus: --format is maildir or mbox\n", stderr);
    return FORMAT_UNKNOWN;
}

static int export_folder(struct transfer *t, const char *directory, const char *folder, enum format format) {
    struct buf path = {0};
    json_t *list;
    buf_add_str(&path, "/api/v1/accounts/");
    api_add(&path, t->address);
    buf_add_str(&path, "/messages?folder=");
    api_add(&path, folder);
    int failed = api_call(t->c, "GET", buf_str(&path), NULL, &list);
    if (!failed) failed = (format == FORMAT_MBOX ? export_mbox : export_maildir)(t, directory, folder, list);
    json_decref(list);
    buf_free(&path);
    return failed;
}

static int export(struct cli *c) {
    enum format format = format_of(c->format ? c->format : "maildir");
    const char *directory = c->words[1];
    struct transfer t;
    struct buf path = {0};
    json_t *answer = NULL, *each;
    size_t i;
    if (format == FORMAT_UNKNOWN) return CLI_USAGE;
    int failed = transfer_begin(&t, c, c->words[0]);
    buf_add_str(&path, "/api/v1/accounts/");
    api_add(&path, t.address);
    buf_add_str(&path, "/folders");
    if (!failed) failed = api_call(c, "GET", buf_str(&path), NULL, &answer);
    if (!failed && !file_make_directory(directory)) failed = CLI_FAILED;
    json_array_foreach(json_object_get(answer, "folders"), i, each) {
        char *name = failed ? NULL : transfer_map(&t, member_text(each, "name"));
        if (name) failed = export_folder(&t, directory, member_text(each, "name"), format);
        free(name);
    }
    if (!failed) failed = export_subscriptions(directory, json_object_get(answer, "folders"));
    json_decref(answer);
    buf_free(&path);
    return transfer_end(&t, failed);
}

/* A directory with "cur" is a Maildir; everything else is a file, or a directory of files, of mbox. */
static enum format guess(const char *path) {
    struct buf cur = {0};
    struct stat st;
    buf_printf(&cur, "%s/cur", path);
    bool found = stat(buf_str(&cur), &st) == 0 && S_ISDIR(st.st_mode);
    buf_free(&cur);
    return found ? FORMAT_MAILDIR : FORMAT_MBOX;
}

static bool is_url(const char *source) {
    return strncasecmp(source, "imaps://", 8) == 0 || strncasecmp(source, "imap://", 7) == 0;
}

static int import(struct cli *c) {
    static int (*const imports[])(struct transfer *t, const char *path) = {import_maildir, import_mbox, import_imap};
    enum format format = is_url(c->words[1]) ? FORMAT_IMAP : c->format ? format_of(c->format) : guess(c->words[1]);
    struct transfer t;
    if (format == FORMAT_UNKNOWN) return CLI_USAGE;
    int failed = transfer_begin(&t, c, c->words[0]);
    if (!failed) failed = imports[format](&t, c->words[1]);
    return transfer_end(&t, failed);
}

const struct command mailbox_commands[] = {
    {"mailbox", "export", "ADDRESS DIRECTORY", "write all mail of an account to a Maildir, or to mbox files", 2, 2,
     export},
    {"mailbox", "import", "ADDRESS SOURCE",
     "add the mail of a Maildir, mbox files or imaps://USER@HOST to an account, once", 2, 2, import},
    {0},
};
