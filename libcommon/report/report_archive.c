#include "libcommon/report/report_archive.h"

#include <archive.h>
#include <archive_entry.h>

#include "libcommon/base/arena.h"

enum { PIECE = 64 * 1024 };

static bool is_gzip(struct slice b) { return slice_starts(b, SLICE("\x1f\x8b")); }
static bool is_zip(struct slice b) { return slice_starts(b, SLICE("PK\x03\x04")); }

/* Reads the data of the current entry into out: 0 or -1. */
static int take_entry(struct archive *a, struct buf *out, const char **why) {
    size_t before = out->n;
    for (;;) {
        la_ssize_t n = archive_read_data(a, buf_reserve(out, PIECE), PIECE);
        if (n == 0) break;
        if (n < 0) {
            *why = "the archive is damaged or encrypted";
            break;
        }
        out->n += (size_t)n;
        if (out->n - before > REPORT_BYTES_MAX) {
            *why = "the archive contains more than 32 MiB";
            break;
        }
    }
    if (!*why && out->n == before) *why = "the archive is empty";
    if (*why) {
        out->n = before;
        return -1;
    }
    buf_reserve(out, 1)[0] = 0;
    return 0;
}

static bool has_report_name(struct archive_entry *entry) {
    const char *name = archive_entry_pathname(entry);
    struct slice s = slice_of(name);
    return slice_is_nocase(slice_skip(s, s.n > 4 ? s.n - 4 : 0), ".xml") ||
           slice_is_nocase(slice_skip(s, s.n > 5 ? s.n - 5 : 0), ".json");
}

/* One pass over the archive. named: only a file with the name of a report counts. 1: found and
 * read; 0: there is none; -1: error. */
static int read_archive(struct slice bytes, bool named, struct buf *out, const char **why) {
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    int found = 0;
    if (!a) memory_exhausted();
    if (is_zip(bytes)) {
        archive_read_support_format_zip(a);
    } else {
        archive_read_support_filter_gzip(a);
        archive_read_support_format_raw(a);
    }
    if (archive_read_open_memory(a, bytes.p, bytes.n) != ARCHIVE_OK) *why = "the archive is damaged";
    for (int i = 0; !*why && !found && i < REPORT_ENTRIES_MAX; i++) {
        int got = archive_read_next_header(a, &entry);
        if (got == ARCHIVE_EOF) break;
        if (got < ARCHIVE_WARN || (!is_zip(bytes) && archive_filter_code(a, 0) != ARCHIVE_FILTER_GZIP))
            *why = "the archive is damaged";
        else if ((is_zip(bytes) && archive_entry_filetype(entry) != AE_IFREG) || (named && !has_report_name(entry)))
            continue;
        else
            found = take_entry(a, out, why) == 0;
    }
    archive_read_free(a);
    return *why ? -1 : found;
}

int report_unpack(struct slice bytes, struct buf *out, const char **why) {
    *why = NULL;
    if (!is_gzip(bytes) && !is_zip(bytes)) {
        if (bytes.n > REPORT_BYTES_MAX) {
            *why = "the report is larger than 32 MiB";
            return -1;
        }
        buf_add_slice(out, bytes);
        return 0;
    }
    int got = is_zip(bytes) ? read_archive(bytes, true, out, why) : 0;
    if (got == 0) got = read_archive(bytes, false, out, why);
    if (got == 0) *why = "there is no file in the archive";
    return got == 1 ? 0 : -1;
}

static la_ssize_t on_write(struct archive *a, void *ctx, const void *bytes, size_t n) {
    (void)a;
    buf_add(ctx, bytes, n);
    return (la_ssize_t)n;
}

void report_pack(struct slice bytes, struct buf *out) {
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    if (!a || !entry) memory_exhausted();
    archive_write_add_filter_gzip(a);
    archive_write_set_format_raw(a);
    archive_write_set_filter_option(a, "gzip", "timestamp", NULL);
    archive_write_set_bytes_in_last_block(a, 1);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_size(entry, (la_int64_t)bytes.n);
    if (archive_write_open(a, out, NULL, on_write, NULL) != ARCHIVE_OK ||
        archive_write_header(a, entry) != ARCHIVE_OK ||
        archive_write_data(a, bytes.p, bytes.n) != (la_ssize_t)bytes.n || archive_write_close(a) != ARCHIVE_OK)
        memory_exhausted(); /* the output is memory, so only an allocation can fail */
    archive_entry_free(entry);
    archive_write_free(a);
}
