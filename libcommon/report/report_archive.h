/* Reports travel compressed: gzip (RFC 9990 §3.5.2, RFC 8460 §5.3) or, from some senders, zip. Pure, through
 * libarchive, over bytes in memory.
 *
 * Bounds: what comes out is at most REPORT_BYTES_MAX, whatever the archive claims; of a zip at most REPORT_ENTRIES_MAX
 * entries are looked at. An archive inside an archive is not opened. */
#ifndef POSTBUS_REPORT_REPORT_ARCHIVE_H
#define POSTBUS_REPORT_REPORT_ARCHIVE_H

#include "libcommon/base/buf.h"

enum { REPORT_BYTES_MAX = 32 * 1024 * 1024, REPORT_ENTRIES_MAX = 16 };

/* Adds what is in bytes to out: of gzip the one file in it, of zip the first file whose name ends with .xml or .json
 * (else the first file), anything else as it is. 0, or -1 and *why in words (a constant): damaged, encrypted, empty, or
 * larger than the bound; out is then as before. */
int report_unpack(struct slice bytes, struct buf *out, const char **why);

/* Adds bytes, compressed with gzip (RFC 1952, without a name and a time, so that the same bytes give the same file), to
 * out. */
void report_pack(struct slice bytes, struct buf *out);

#endif
