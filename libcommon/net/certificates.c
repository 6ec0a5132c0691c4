#include "libcommon/net/certificates.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "libcommon/base/arena.h"

static const char prefix[] = "tls.", suffix[] = ".crt";

static uint64_t mix(uint64_t mark, uint64_t value) { return (mark ^ value) * 0x100000001b3; }

/* Identifies the content of a file: a file that is replaced has another inode, a file that is
 * written again has another time or size. */
static bool stat_into(const char *path, uint64_t *mark) {
    struct stat s;
    if (stat(path, &s) != 0 || !S_ISREG(s.st_mode)) return false;
    uint64_t one =
        mix(mix(mix(mix(0xcbf29ce484222325, (uint64_t)s.st_ino), (uint64_t)s.st_size), (uint64_t)s.st_mtim.tv_sec),
            (uint64_t)s.st_mtim.tv_nsec);
    for (const char *p = path; *p; p++) one = mix(one, (unsigned char)*p);
    *mark += one; /* a sum: the order of the directory does not matter */
    return true;
}

static void add(struct certificates *out, const char *directory, const char *name) {
    struct certificate_files f = {0};
    const char *dot = *name ? "." : "";
    if (out->count == CERTIFICATES_MAX) {
        out->left_out++;
        return;
    }
    int n = snprintf(f.certificate, sizeof f.certificate, "%s/tls%s%s.crt", directory, dot, name),
        m = snprintf(f.key, sizeof f.key, "%s/tls%s%s.key", directory, dot, name);
    if (n >= CERTIFICATE_PATH_BYTES || m >= CERTIFICATE_PATH_BYTES || strlen(name) >= sizeof f.name) return;
    if (!stat_into(f.certificate, &out->mark) || !stat_into(f.key, &out->mark)) return;
    for (size_t i = 0; name[i]; i++) f.name[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    if ((out->count & (out->count - 1)) == 0) /* a power of two: full */
        out->files = memory_resize(out->files, (out->count ? out->count * 2 : 1) * sizeof f);
    out->files[out->count++] = f;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct certificate_files *)a)->name, ((const struct certificate_files *)b)->name);
}

void certificates_find(const char *directory, struct certificates *out) {
    char ticket_key[CERTIFICATE_PATH_BYTES];
    *out = (struct certificates){0};
    add(out, directory, "");
    snprintf(ticket_key, sizeof ticket_key, "%s/ticket.key", directory);
    stat_into(ticket_key, &out->mark);
    DIR *d = out->count ? opendir(directory) : NULL;
    for (struct dirent *entry; d && (entry = readdir(d));) {
        size_t n = strlen(entry->d_name), fixed = sizeof prefix - 1 + sizeof suffix - 1;
        char name[256];
        if (n <= fixed || strncmp(entry->d_name, prefix, sizeof prefix - 1) != 0 ||
            strcmp(entry->d_name + n - (sizeof suffix - 1), suffix) != 0)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(n - fixed), entry->d_name + sizeof prefix - 1);
        if (strchr(name, '.')) add(out, directory, name);
    }
    if (d) closedir(d);
    if (out->count) qsort(out->files, out->count, sizeof *out->files, by_name);
}

void certificates_free(struct certificates *c) {
    free(c->files);
    *c = (struct certificates){0};
}

static size_t find(const struct certificates *c, const char *name) {
    size_t low = 1, high = c->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcasecmp(name, c->files[middle].name);
        if (order == 0) return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return 0;
}

size_t certificates_choose(const struct certificates *c, const char *server_name) {
    if (!server_name || !*server_name) return 0;
    size_t found = find(c, server_name);
    const char *dot = strchr(server_name, '.');
    char wild[256];
    if (found || !dot || snprintf(wild, sizeof wild, "_%s", dot) >= (int)sizeof wild) return found;
    return find(c, wild);
}
