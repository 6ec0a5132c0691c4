/* The texts of a message for a search: decoded, in UTF-8, with case folded; piece by piece, so that
 * no message blocks the loop for long and no decoded body is in memory as a whole. */
#ifndef POSTBUS_IMAPD_SEARCH_TEXT_H
#define POSTBUS_IMAPD_SEARCH_TEXT_H

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"

/* Adds UTF-8 text to out in the form for comparison: decomposed, with Unicode case folding (similar
 * to i;unicode-casemap, RFC 5051): "KÄSE" and "Käse" become the same bytes, "ß" becomes "ss". Bytes
 * that are not UTF-8 become U+FFFD. Pure. */
void text_fold(struct slice utf8, struct buf *out);
/* Whether folded text has a folded needle; time is linear in the text. An empty needle is in every
 * text. */
bool text_has(struct slice folded, struct slice needle);

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
