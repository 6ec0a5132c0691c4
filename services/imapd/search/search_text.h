/* The texts of a message for a search: decoded, in UTF-8, with case folded; piece by piece, so that
 * no message blocks the loop for long and no decoded body is in memory as a whole. */
#ifndef POSTBUS_IMAPD_SEARCH_TEXT_H
#define POSTBUS_IMAPD_SEARCH_TEXT_H

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"
#include "libcommon/mail/text_fold.h"

/* A search for needles in the text parts of a message. */
struct text_search;
enum { TEXT_STEP = 256 * 1024 }; /* bytes of the message that a step reads; about 2 ms */
/* Keeps no copy of the message, the needles (folded) or found, which must be valid as long.
 * found[i] becomes true when needles[i] is found; if it is true at the beginning, it is not
 * searched for. */
struct text_search *text_search_create(struct slice message, size_t count, const struct slice needles[], bool found[]);
/* False when it is done. */
bool text_search_step(struct text_search *t);
void text_search_destroy(struct text_search *t); /* NULL is allowed */

#endif
