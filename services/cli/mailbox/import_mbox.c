/* The import of mbox files: one file, or each file "<folder>.mbox" below a directory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/mail/date.h"
#include "libcommon/mail/header.h"
#include "services/cli/mailbox/mbox.h"
#include "services/cli/mailbox/transfer.h"

enum { DEPTH_MAX = 20 }; /* directories in each other */

/* The time of arrival: of the "From " line, else of the field Date. */
static int64_t date_of(const struct mbox_message *m, struct slice message) {
    struct header_field field;
    struct date date;
    size_t body;
    if (m->date) return m->date;
    if (header_find(header_block(message, &body), "Date", &field) && date_parse(field.value, &date) == 0)
        return date.seconds;
    return 0;
}

static int import_messages(struct transfer *t, struct slice file, const char *path) {
    struct mbox_message m;
    int failed = CLI_OK;
    size_t number = 0;
    for (size_t at = 0; !failed && mbox_next(file, &at, &m);) {
        struct buf message = {0}, keywords = {0}, where = {0};
        uint32_t flags;
        buf_printf(&where, "%s, message %zu", path, ++number);
        mbox_unpack(&m, &message, &flags, &keywords);
        failed = import_message(t, buf_slice(&message), date_of(&m, buf_slice(&message)), flags, buf_slice(&keywords),
                                buf_str(&where));
        buf_free(&message);
        buf_free(&keywords);
        buf_free(&where);
    }
    return failed;
}

/* A file is mapped, so that its size does not matter. */
static int import_file(struct transfer *t, const char *path, const char *folder) {
    char *name = transfer_map(t, folder);
    struct stat st;
    if (!name) return CLI_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC), failed = CLI_OK;
    void *map = fd >= 0 && fstat(fd, &st) == 0 && st.st_size
                    ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)
                    : MAP_FAILED;
    if (fd < 0 || (map == MAP_FAILED && st.st_size)) {
        fprintf(stderr, "postbus: cannot read %s: %s\n", path, strerror(errno));
        failed = CLI_FAILED;
    } else {
        struct slice file = map == MAP_FAILED ? SLICE("") : slice_make(map, (size_t)st.st_size);
        struct mbox_message m;
        size_t count = 0;
        for (size_t at = 0; mbox_next(file, &at, &m);) count++;
        transfer_folder(t, name, count);
        failed = import_open_folder(t, name, true);
        if (!failed) failed = import_messages(t, file, path);
        transfer_folder_end(t);
        if (map != MAP_FAILED) munmap(map, (size_t)st.st_size);
    }
    if (fd >= 0) close(fd);
    free(name);
    return failed;
}

/* The name of a folder from that of its file: "%2F" and the like are bytes. */
static void read_name(struct slice file, struct buf *out) {
    for (size_t i = 0; i < file.n; i++) {
        unsigned byte;
        char hex[3] = {i + 2 < file.n ? file.p[i + 1] : 0, i + 2 < file.n ? file.p[i + 2] : 0, 0};
        int length = 0;
        if (file.p[i] == '%' && sscanf(hex, "%2x%n", &byte, &length) == 1 && length == 2 && byte) {
            buf_add_char(out, (char)byte);
            i += 2;
        } else {
            buf_add_char(out, file.p[i]);
        }
    }
}

static int compare_texts(const void *one, const void *other) {
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static int import_directory(struct transfer *t, const char *path, const char *folder, int depth) {
    static const char suffix[] = ".mbox";
    char *names[1000];
    size_t count = 0;
    int failed = CLI_OK;
    DIR *d = depth < DEPTH_MAX ? opendir(path) : NULL;
    for (struct dirent *e; d && count < sizeof names / sizeof *names && (e = readdir(d));)
        if (e->d_name[0] != '.') names[count++] = memory_copy(slice_of(e->d_name));
    if (d) closedir(d);
    if (count) qsort(names, count, sizeof *names, compare_texts);
    for (size_t i = 0; i < count; i++) {
        struct buf file = {0}, name = {0};
        struct stat st;
        struct slice base = slice_of(names[i]);
        bool is_mbox = base.n > sizeof suffix - 1 && slice_is(slice_skip(base, base.n - sizeof suffix + 1), suffix);
        buf_printf(&file, "%s/", path);
        buf_add_slice(&file, base);
        if (is_mbox) base.n -= sizeof suffix - 1;
        buf_printf(&name, "%s%s", folder, *folder ? "/" : "");
        read_name(base, &name);
        if (!failed && stat(buf_str(&file), &st) == 0) {
            if (S_ISDIR(st.st_mode))
                failed = import_directory(t, buf_str(&file), buf_str(&name), depth + 1);
            else if (is_mbox)
                failed = import_file(t, buf_str(&file), buf_str(&name));
        }
        buf_free(&file);
        buf_free(&name);
        free(names[i]);
    }
    return failed;
}

int import_mbox(struct transfer *t, const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) {
        fprintf(stderr, "postbus: cannot read %s: %s\n", path, strerror(errno));
        return CLI_FAILED;
    }
    return S_ISDIR(st.st_mode) ? import_directory(t, path, "", 0) : import_file(t, path, "INBOX");
}
