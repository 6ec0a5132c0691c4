/* What an IMAP server answers (RFC 9051 §7, RFC 3501 §7), as far as an import reads it. Pure functions over bytes of a
 * stranger; each answer is whole in memory, with its literals as sent ("{5}\r\nhello"). */
#ifndef POSTBUS_CLI_IMAP_ANSWER_H
#define POSTBUS_CLI_IMAP_ANSWER_H

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"

enum { IMAP_NAMESPACES_MAX = 16, IMAP_DEPTH_MAX = 100 /* parentheses within an item that is skipped */ };

enum imap_kind {
    IMAP_OTHER,    /* anything that an import does not use */
    IMAP_STATUS,   /* tagged, or untagged OK, NO, BAD, PREAUTH, BYE */
    IMAP_CONTINUE, /* "+" */
    IMAP_CAPABILITY,
    IMAP_LIST,
    IMAP_LSUB,
    IMAP_NAMESPACE,
    IMAP_EXISTS,
    IMAP_FETCH,
};
enum imap_status { IMAP_OK, IMAP_NO, IMAP_BAD, IMAP_PREAUTH, IMAP_BYE };

/* Slices are views of the answer or of the arena. */
struct imap_answer {
    enum imap_kind kind;
    struct slice tag; /* "*" when untagged */
    enum imap_status status;
    struct slice code;  /* what is between [ and ] of a status, such as "UIDVALIDITY 7"; empty without one */
    struct slice text;  /* of a status; the names of CAPABILITY */
    struct slice flags; /* between the parentheses of LIST, LSUB and FETCH's FLAGS */
    char separator;     /* of LIST; 0: NIL, the folder has no levels */
    struct slice name;  /* of LIST, as sent: modified UTF-7, or UTF-8 */
    uint32_t number;    /* of EXISTS and FETCH */
    uint32_t uid;       /* of FETCH; 0: not told */
    uint64_t size;      /* RFC822.SIZE */
    int64_t date;       /* INTERNALDATE, seconds since 1970; -1: not told, or no date */
    bool has_section;
    struct slice section; /* the last BODY[…]; empty for NIL */
    size_t namespace_count;
    struct {
        bool personal; /* the first group of NAMESPACE (RFC 2342); else other users' or shared */
        struct slice prefix;
    } namespaces[IMAP_NAMESPACES_MAX];
};

/* Whether a line (without CRLF) ends with the announcement of a literal: "{5}", "~{5}" (RFC 3516). A line of status
 * has none, whatever its text is. */
bool imap_literal_follows(struct slice line, uint64_t *size);

/* Reads one whole answer, with its last CRLF. 0, or -1 when it is not of the grammar. */
int imap_answer_read(struct slice answer, struct arena *arena, struct imap_answer *out);

/* The next word of a list that is separated by spaces; false at the end. */
bool imap_word_next(struct slice *list, struct slice *word);
/* Whether a list of words has this one, case-insensitive. */
bool imap_word_has(struct slice list, const char *word);

/* "24-Nov-2026 10:00:00 +0100" (date-time, RFC 9051 §9, without quotes): seconds since 1970, or -1. */
int64_t imap_date_read(struct slice text);

/* The name that a folder gets here, added to out: UTF-8 with "/" between levels, without the prefix of the personal
 * namespace. "/" and control characters within a level become "_", empty levels are left out; INBOX is INBOX in
 * whatever case. False (out unchanged) when the name is neither modified UTF-7 (RFC 3501 §5.1.3) nor UTF-8, or
 * nothing is left of it. separator: 0 for none. */
bool imap_folder_name(struct slice name, char separator, struct slice prefix, struct buf *out);

#endif
