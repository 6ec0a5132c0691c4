#include "libcommon/store/cold/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/base/log.h"
#include "libcommon/store/redis.h"

enum { PATH_BYTES = 1024 };

static int failed(const char *what, const char *path) {
    int error = errno;
    if (error == ENOENT) return STORE_NOT_FOUND;
    char reason[128];
    log_error("the cold directory cannot be used", "doing", what, "path", path, "reason",
              strerror_r(error, reason, sizeof reason), NULL);
    return error == ENOSPC || error == EDQUOT ? STORE_FULL : STORE_UNAVAILABLE;
}

static void folder_of(const char *root, const char *segment, char out[PATH_BYTES]) {
    snprintf(out, PATH_BYTES, "%s/%.4s", root, segment);
}

static void path_of(const char *root, const char *segment, char out[PATH_BYTES]) {
    snprintf(out, PATH_BYTES, "%s/%.4s/%s", root, segment, segment);
}

int directory_read(const char *root, const char *segment, uint64_t offset, uint64_t length, struct buf *out) {
    char path[PATH_BYTES];
    path_of(root, segment, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC), result = 0;
    if (fd < 0) return failed("open", path);
    char *at = buf_reserve(out, (size_t)length);
    uint64_t n = 0;
    while (n < length) {
        ssize_t got = pread(fd, at + n, (size_t)(length - n), (off_t)(offset + n));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) result = failed("read", path);
        if (got <= 0) break;
        n += (uint64_t)got;
    }
    close(fd);
    out->n += result ? 0 : (size_t)n;
    return result;
}

static int sync_folder(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = fd >= 0 && fsync(fd) == 0 ? 0 : failed("fsync", path);
    if (fd >= 0) close(fd);
    return result == STORE_NOT_FOUND ? STORE_UNAVAILABLE : result;
}

int directory_write(const char *root, const char *segment, struct slice bytes) {
    char path[PATH_BYTES], folder[PATH_BYTES];
    int result = 0;
    path_of(root, segment, path);
    folder_of(root, segment, folder);
    if (mkdir(folder, 0750) != 0 && errno != EEXIST) result = failed("mkdir", folder);
    int fd = result ? -1 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (!result && fd < 0) result = failed("create", path);
    for (size_t n = 0; !result && n < bytes.n;) {
        ssize_t put = write(fd, bytes.p + n, bytes.n - n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0)
            result = failed("write", path);
        else
            n += (size_t)put;
    }
    if (!result && fsync(fd) != 0) result = failed("fsync", path);
    if (fd >= 0 && close(fd) != 0 && !result) result = failed("close", path);
    if (!result) result = sync_folder(folder);
    if (!result) result = sync_folder(root);
    if (result && fd >= 0) unlink(path);
    return result == STORE_NOT_FOUND ? STORE_UNAVAILABLE : result;
}

int directory_remove(const char *root, const char *segment) {
    char path[PATH_BYTES];
    path_of(root, segment, path);
    int result = unlink(path) == 0 ? 0 : failed("unlink", path);
    return result == STORE_NOT_FOUND ? 0 : result;
}
