/* Strings of IMAP: quoted if possible, otherwise as a literal; without NUL (RFC 9051 §4.3). */
#ifndef POSTBUS_IMAPD_WRITE_H
#define POSTBUS_IMAPD_WRITE_H

#include <stdarg.h>

#include "libcommon/base/buf.h"

/* utf8_quoted: 8-bit characters are allowed in quotes (after ENABLE IMAP4rev2 or UTF8=ACCEPT). */
void write_string(struct buf *out, struct slice s, bool utf8_quoted);
/* An atom if possible, otherwise as write_string. */
void write_astring(struct buf *out, struct slice s, bool utf8_quoted);
/* Always a literal: "{n}\r\n…"; NULs become 0x80, because they are allowed only in literal8. */
void write_literal(struct buf *out, struct slice s);
/* "~{n}\r\n…" (RFC 3516 §4.2) */
void write_literal8(struct buf *out, struct slice s);
/* "\"24-Nov-2026 10:00:00 +0000\"" */
void write_date_time(struct buf *out, int64_t when);

/* As vprintf. */
void write_formatted(struct buf *out, const char *format, va_list ap) __attribute__((format(printf, 2, 0)));

#endif
