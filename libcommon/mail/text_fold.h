/* Text in the form in which it is compared, sorted and searched. */
#ifndef POSTBUS_MAIL_TEXT_FOLD_H
#define POSTBUS_MAIL_TEXT_FOLD_H

#include "libcommon/base/buf.h"

/* Adds UTF-8 text to out in the form for comparison: decomposed, with Unicode case folding (similar
 * to i;unicode-casemap, RFC 5051): "KÄSE" and "Käse" become the same bytes, "ß" becomes "ss". Bytes
 * that are not UTF-8 become U+FFFD. Pure. */
void text_fold(struct slice utf8, struct buf *out);
/* Whether folded text has a folded needle; time is linear in the text. An empty needle is in every
 * text. */
bool text_has(struct slice folded, struct slice needle);

#endif
