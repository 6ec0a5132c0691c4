/* The grammar of IMAP commands (RFC 9051 §9, RFC 3501 §9) as pure functions over bytes. A whole
 * command, including its literals as sent ("{5}\r\nhello"), is in memory; a parser is a position in
 * it. Every function reads the item in its name and advances, or returns false and does not
 * advance. Results point into the command, or into the arena where quotes had to be removed. */
#ifndef POSTBUS_IMAPD_PARSE_H
#define POSTBUS_IMAPD_PARSE_H

#include "libcommon/base/arena.h"
#include "libcommon/base/slice.h"

struct parser {
    const char *p, *end;
    struct arena *arena;
};

/* The announcement of a literal at the end of a line: "{n}", "{n+}" (RFC 7888), with or without "~"
 * before it (RFC 3516). */
struct literal {
    uint64_t size;
    bool plus; /* non-synchronizing */
};
bool literal_announced(struct slice line, struct literal *literal);

bool parse_char(struct parser *p, char c);
#define parse_space(p) parse_char(p, ' ')
bool parse_end(const struct parser *p);
/* The next byte, without advancing; 0 at the end. */
char parse_peek(const struct parser *p);
bool parse_tag(struct parser *p, struct slice *tag);
bool parse_atom(struct parser *p, struct slice *atom);
/* The atom `word`, case-insensitive, and complete. */
bool parse_word(struct parser *p, const char *word);
bool parse_string(struct parser *p, struct slice *s);
bool parse_astring(struct parser *p, struct slice *s);
bool parse_nstring(struct parser *p, struct slice *s, bool *nil);
/* A mailbox name or pattern, not decoded: list-mailbox allows % and *. */
bool parse_list_mailbox(struct parser *p, struct slice *s);
/* A literal with a message: literal8 and any byte are allowed. */
bool parse_literal(struct parser *p, struct slice *s);
bool parse_u32(struct parser *p, uint32_t *value);
bool parse_u64(struct parser *p, uint64_t *value);
/* A flag: an atom, or "\" and an atom. */
bool parse_flag(struct parser *p, struct slice *flag);
/* " 5-Nov-2026" or "05-Nov-2026" quoted or not (date, RFC 9051 §9): seconds since 1970 of the start
 * of the day. */
bool parse_date(struct parser *p, int64_t *day);
/* "\"24-Nov-2026 10:00:00 +0100\"": seconds since 1970. */
bool parse_date_time(struct parser *p, int64_t *when);

/* Days since 1970 of a date in the Gregorian calendar. */
int64_t days_from_civil(int64_t year, int month, int day);

#endif
