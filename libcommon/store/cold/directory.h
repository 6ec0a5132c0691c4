/* Segments as files in a directory: <root>/<first 4 letters>/<segment>, so that a folder has those
 * of about three days. These calls block: only the threads of the cold tier make them. They answer 0
 * or an enum store_error. Private to libcommon/store/cold. */
#ifndef POSTBUS_STORE_COLD_DIRECTORY_H
#define POSTBUS_STORE_COLD_DIRECTORY_H

#include "libcommon/base/buf.h"

int directory_read(const char *root, const char *segment, uint64_t offset, uint64_t length, struct buf *out);
/* The file, its folder and the root are on disk (fsync) when this returns 0. */
int directory_write(const char *root, const char *segment, struct slice bytes);
int directory_remove(const char *root, const char *segment);

#endif
