/* Reports are compressed: with gzip (RFC 9990 §3.5.2, RFC 8460 §5.3) or, by some senders, with zip.
 * Pure functions over bytes in memory, with libarchive.
 *
 * Bounds: the output is at most REPORT_BYTES_MAX, independent of the sizes that the archive states;
 * at most REPORT_ENTRIES_MAX entries of a zip are read. An archive inside an archive is not
 * opened. */
#ifndef POSTBUS_REPORT_REPORT_ARCHIVE_H
#define POSTBUS_REPORT_REPORT_ARCHIVE_H

#include "libcommon/base/buf.h"

enum { REPORT_BYTES_MAX = 32 * 1024 * 1024, REPORT_ENTRIES_MAX = 16 };

/* Unpacks bytes and adds the result to out: the file in a gzip, the first file of a zip whose name
 * ends with .xml or .json (otherwise the first file), other bytes unchanged. 0, or -1 and *why in
 * words (a constant): damaged, encrypted, empty, or larger than the bound; out is then
 * unchanged. */
int report_unpack(struct slice bytes, struct buf *out, const char **why);

/* Adds bytes, compressed with gzip (RFC 1952, without a name and a time, so that the same bytes
 * give the same file), to out. */
void report_pack(struct slice bytes, struct buf *out);

#endif
