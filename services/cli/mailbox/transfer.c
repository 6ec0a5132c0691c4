#include "services/cli/mailbox/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/member.h"

int transfer_begin(struct transfer *t, struct cli *c, const char *address) {
    struct buf path = {0};
    json_t *account;
    *t = (struct transfer){.c = c, .address = address, .folders = json_array()};
    buf_add_str(&path, "/api/v1/accounts/");
    api_add(&path, address);
    int failed = api_call(c, "GET", buf_str(&path), NULL, &account);
    if (!failed) snprintf(t->user, sizeof t->user, "%s", member_text(account, "user"));
    json_decref(account);
    buf_free(&path);
    return failed;
}

void transfer_free(struct transfer *t) {
    transfer_folder_end(t);
    json_decref(t->folders);
    digests_free(&t->present);
    digests_free(&t->copies);
}

int transfer_end(struct transfer *t, int failed) {
    transfer_folder_end(t);
    json_t *summary = json_pack("{s:I, s:I, s:I, s:O}", "done", (json_int_t)t->all_done, "skipped",
                                (json_int_t)t->all_skipped, "failed", (json_int_t)t->all_failed, "folders", t->folders);
    if (!print_json(t->c, summary))
        printf("%zu messages, %zu were there already, %zu could not be transferred\n", t->all_done, t->all_skipped,
               t->all_failed);
    json_decref(summary);
    transfer_free(t);
    return failed ? failed : t->all_failed ? CLI_FAILED : CLI_OK;
}

char *transfer_map(const struct transfer *t, const char *folder) {
    if (t->c->folder && strcmp(t->c->folder, folder) != 0) return NULL;
    for (int i = 0; i < t->c->map_count; i++) {
        struct slice to = slice_of(t->c->maps[i]), from;
        if (slice_cut(&to, '=', &from) && slice_is(from, folder)) return memory_copy(to);
    }
    return memory_copy(slice_of(folder));
}

void transfer_folder(struct transfer *t, const char *name, size_t total) {
    transfer_folder_end(t);
    t->folder = memory_copy(slice_of(name));
    t->total = total;
    t->done = t->skipped = t->failed = 0;
}

static void show(const struct transfer *t) {
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%s: %zu of %zu ", t->folder, t->done + t->skipped + t->failed, t->total);
}

void transfer_count(struct transfer *t, enum transfer_result result) {
    size_t *count[] = {[TRANSFER_DONE] = &t->done, [TRANSFER_SKIPPED] = &t->skipped, [TRANSFER_FAILED] = &t->failed};
    ++*count[result];
    if ((t->done + t->skipped + t->failed) % 10 == 0) show(t);
}

void transfer_folder_end(struct transfer *t) {
    if (!t->folder) return;
    show(t);
    if (isatty(STDERR_FILENO)) fputc('\n', stderr);
    if (!t->c->json) printf("%s\t%zu\t%zu there already\t%zu failed\n", t->folder, t->done, t->skipped, t->failed);
    fflush(stdout);
    json_array_append_new(t->folders, json_pack("{s:s, s:I, s:I, s:I}", "name", t->folder, "done", (json_int_t)t->done,
                                                "skipped", (json_int_t)t->skipped, "failed", (json_int_t)t->failed));
    t->all_done += t->done;
    t->all_skipped += t->skipped;
    t->all_failed += t->failed;
    free(t->folder);
    t->folder = NULL;
}

uint32_t flags_read(const json_t *list, struct buf *keywords) {
    static const struct {
        const char *name;
        enum maildir_flag flag;
    } names[] = {{"\\Seen", MAILDIR_SEEN},       {"\\Answered", MAILDIR_ANSWERED}, {"\\Flagged", MAILDIR_FLAGGED},
                 {"\\Deleted", MAILDIR_DELETED}, {"\\Draft", MAILDIR_DRAFT},       {"$Forwarded", MAILDIR_PASSED}};
    uint32_t flags = 0;
    size_t i;
    json_t *each;
    json_array_foreach(list, i, each) {
        const char *word = json_string_value(each);
        uint32_t flag = 0;
        for (size_t k = 0; word && k < sizeof names / sizeof *names; k++)
            if (strcasecmp(word, names[k].name) == 0) flag = names[k].flag;
        flags |= flag;
        if (flag || !word) continue;
        if (keywords->n) buf_add_char(keywords, ' ');
        buf_add_str(keywords, word);
    }
    return flags;
}

/* Files */

static bool complain(const char *what, const char *path) {
    fprintf(stderr, "postbus: cannot %s %s: %s\n", what, path, strerror(errno));
    return false;
}

bool file_make_directory(const char *path) {
    char *copy = memory_copy(slice_of(path));
    bool made = true;
    for (char *slash = strchr(copy + 1, '/'); slash && made; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        made = mkdir(copy, 0700) == 0 || errno == EEXIST;
        *slash = '/';
    }
    made = made && (mkdir(copy, 0700) == 0 || errno == EEXIST);
    if (!made) complain("make the directory", path);
    free(copy);
    return made;
}

bool file_write(const char *temporary, const char *path, struct slice bytes, long long time) {
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return complain("write", temporary);
    bool written = true;
    while (bytes.n && written) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        written = n > 0 || (n < 0 && errno == EINTR);
        if (n > 0) bytes = slice_skip(bytes, (size_t)n);
    }
    struct timespec times[2] = {{.tv_sec = (time_t)time}, {.tv_sec = (time_t)time}};
    written = written && (time == 0 || futimens(fd, times) == 0) && fdatasync(fd) == 0;
    if (close(fd) != 0 || !written) return complain("write", temporary);
    return rename(temporary, path) == 0 || complain("write", path);
}

bool file_read(const char *path, struct buf *out) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n;
    do {
        n = read(fd, buf_reserve(out, 1 << 16), 1 << 16);
        if (n > 0) out->n += (size_t)n;
    } while (n > 0 || (n < 0 && errno == EINTR));
    close(fd);
    if (out->data) out->data[out->n] = 0;
    return n == 0;
}
