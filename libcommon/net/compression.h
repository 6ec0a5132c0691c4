/* DEFLATE (RFC 1951) on both ways of a connection, as IMAP's COMPRESS wants it (RFC 4978). Foreign
 * compressed bytes are inflated piece by piece, and never more at once than the caller has room
 * for. A connection that is silent for a while gives back nearly all of its memory
 * (compression_rest). Belongs to one loop. */
#ifndef POSTBUS_NET_COMPRESSION_H
#define POSTBUS_NET_COMPRESSION_H

#include <event2/buffer.h>

#include "libcommon/base/slice.h"

struct compression;

struct compression *compression_create(void);
void compression_destroy(struct compression *c); /* NULL: nothing */

/* Adds the bytes to out, so that the peer can read all of them now. last: the compressed bytes end
 * with them. */
void compression_write(struct compression *c, struct slice bytes, bool last, struct evbuffer *out);
/* Moves what is in `raw` to `plain`, until that has about max bytes. -1: the bytes are no DEFLATE;
 * 1: the peer has set an end, and there are bytes in `raw` after it, which stay there; else 0. */
int compression_read(struct compression *c, struct evbuffer *raw, struct evbuffer *plain, size_t max);

/* Frees what can be made again: the compressor begins anew with the next bytes, and of the other one
 * only the texts that the peer may refer to are kept, at most 32 KB; both where the bytes so far
 * end at a flush of the peer. Costs a little of the rate. */
void compression_rest(struct compression *c);
/* Whether there is something to give back. */
bool compression_is_awake(const struct compression *c);

#endif
