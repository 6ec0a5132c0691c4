/* The names and lists of a Maildir (Maildir++, as Dovecot, Courier and others write it): the flags in a file's name,
 * the names of folders, Dovecot's lists of keywords and of subscriptions. Pure.
 *
 *   DIR/cur/1764000000.7_12.host,S=123:2,FSa    a message: \Flagged \Seen and the first keyword of the folder
 *   DIR/.Archive.2026/cur/…                     the folder Archive/2026
 *   DIR/dovecot-keywords                        the keywords of the letters a to z: "0 $Label1"
 *   DIR/subscriptions                           the subscribed folders
 *
 * Names of folders are modified UTF-7 (RFC 3501 §5.1.3) or UTF-8. Bytes that a level must not have are written as
 * "\2e", as Dovecot's plugin "listescape" does. */
#ifndef POSTBUS_CLI_MAILDIR_H
#define POSTBUS_CLI_MAILDIR_H

#include "libcommon/base/buf.h"

enum { MAILDIR_KEYWORDS_MAX = 26, MAILDIR_NAME_MAX = 250 };

/* The system flags, as bits. \Deleted is "T", and "P" (passed on) the keyword $Forwarded. */
enum maildir_flag {
    MAILDIR_SEEN = 1,
    MAILDIR_ANSWERED = 2,
    MAILDIR_FLAGGED = 4,
    MAILDIR_DELETED = 8,
    MAILDIR_DRAFT = 16,
    MAILDIR_PASSED = 32,
};

struct maildir_name {
    struct slice unique; /* before ":2," and before ",S=…"; identifies the message in its folder */
    uint32_t flags;      /* enum maildir_flag */
    uint32_t keywords;   /* bit 0 is the letter a */
    uint64_t time;       /* the number at its beginning: seconds since 1970, by which names are sorted; 0: none */
};

/* Reads a file's name; false when it is not one of a message (empty, hidden). Unknown flags are ignored. */
bool maildir_name_read(struct slice file, struct maildir_name *out);
/* Adds unique, ",S=<size>" and ":2,<flags>" to out. */
void maildir_name_write(struct slice unique, uint64_t size, uint32_t flags, uint32_t keywords, struct buf *out);

/* Adds the name of the folder that a directory (".Archive.2026") holds to out, as UTF-8 with "/" between levels;
 * false when it is not the directory of a folder: no dot at its beginning, or an empty level. */
bool maildir_folder_read(struct slice directory, struct buf *out);
/* Adds the directory of a folder other than INBOX. False: it would be longer than MAILDIR_NAME_MAX. */
bool maildir_folder_write(struct slice folder, struct buf *out);

/* Reads dovecot-keywords ("<number> <keyword>" lines) into views of text; a missing letter is empty. */
void maildir_keywords_read(struct slice text, struct slice out[MAILDIR_KEYWORDS_MAX]);

/* The next name of a file "subscriptions", with "/" between levels, added to out; start with *at = 0. False: the end.
 * Both forms of Dovecot are read: that with the first line "V<TAB>2", whose levels are separated by a tab, and the
 * older one, whose levels are separated by separator. */
bool maildir_subscription_next(struct slice text, char separator, size_t *at, struct buf *out);
/* Adds a line of the first form. */
void maildir_subscription_write(struct slice folder, struct buf *out);

/* Adds a message as it is on the wire: when its first line ends with a bare LF, every LF without CR gets one;
 * else its bytes are kept. */
void maildir_message_read(struct slice file, struct buf *out);

#endif
