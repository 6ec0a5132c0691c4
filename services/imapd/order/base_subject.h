/* The base subject of a message (RFC 5256 §2.1), by which SORT and THREAD compare subjects. Pure. */
#ifndef POSTBUS_IMAPD_BASE_SUBJECT_H
#define POSTBUS_IMAPD_BASE_SUBJECT_H

#include "libcommon/base/buf.h"

/* Adds the base subject of a Subject value (folds and encoded words as sent) to out, in UTF-8. True
 * when the message is a reply or forward (RFC 5256 §3, THREAD=REFERENCES): "Re:", "Fwd:", "(fwd)"
 * or "[fwd: …]" was removed. */
bool base_subject(struct slice value, struct buf *out);

#endif
