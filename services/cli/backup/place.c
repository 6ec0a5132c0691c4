/* The files of a backup. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/base/arena.h"
#include "services/cli/backup/backup.h"

bool backup_takes_domain(const char *only, const char *domain) {
    const char *at = only ? strrchr(only, '@') : NULL;
    return !only || strcasecmp(at ? at + 1 : only, domain) == 0;
}

bool backup_takes_account(const char *only, const char *address) {
    return !only || !strchr(only, '@') || strcasecmp(only, address) == 0;
}

/* Percent-encodes what a file's name must not have, and a dot at its beginning. */
static void add_name(struct slice name, struct buf *out) {
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c <= ' ' || c == 0x7f || c == '/' || c == '%' || (c == '.' && i == 0))
            buf_printf(out, "%%%02X", c);
        else
            buf_add_char(out, (char)c);
    }
}

void backup_account_path(const char *directory, const char *address, struct buf *out) {
    struct slice whole = slice_of(address);
    ptrdiff_t at = slice_find_last(whole, '@');
    buf_reset(out);
    buf_printf(out, "%s/", directory);
    add_name(slice_skip(whole, (size_t)at + 1), out);
    if (at < 0) return;
    buf_add_char(out, '/');
    add_name(slice_head(whole, (size_t)at), out);
    buf_add_char(out, '/');
}

void backup_message_path(struct slice account, const char *email_id, struct buf *out) {
    size_t n = strlen(email_id);
    buf_reset(out);
    buf_add_slice(out, account);
    buf_printf(out, "mail/%s/%s", email_id + (n > 2 ? n - 2 : 0), email_id);
}

bool backup_email_id_is_safe(const char *email_id) {
    size_t n = strspn(email_id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    return n >= 2 && n < 100 && !email_id[n];
}

json_t *backup_read(const char *path) {
    json_error_t error;
    json_t *value = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!value) fprintf(stderr, "postbus: cannot read %s: %s\n", path, error.text);
    return value;
}

bool backup_write(const char *path, const json_t *value) {
    struct buf temporary = {0};
    char *text = json_dumps(value, JSON_INDENT(1));
    buf_printf(&temporary, "%s.new", path);
    bool written = text && file_write(buf_str(&temporary), path, slice_of(text), 0);
    if (text) explicit_bzero(text, strlen(text)); /* a record has what is kept of a password */
    free(text);
    buf_free(&temporary);
    return written;
}

static int by_name(const void *one, const void *other) { return strcmp(*(char *const *)one, *(char *const *)other); }

size_t backup_states(struct slice account, char ***names) {
    struct buf path = {0};
    size_t count = 0, room = 0;
    *names = NULL;
    buf_add_slice(&path, account);
    buf_add_str(&path, "states");
    DIR *d = opendir(buf_str(&path));
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (n != BACKUP_TIME_BYTES - 1 + 5 || strcmp(e->d_name + n - 5, ".json") != 0) continue;
        if (count == room) {
            room = room ? room * 2 : 64;
            *names = memory_resize(*names, room * sizeof **names);
        }
        (*names)[count++] = memory_copy(slice_of(e->d_name));
    }
    if (d) closedir(d);
    if (count) qsort(*names, count, sizeof **names, by_name);
    buf_free(&path);
    return count;
}

void backup_states_free(char **names, size_t count) {
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
}
