/* The values by which SORT compares messages (RFC 5256 §3, RFC 5957). Pure. */
#ifndef POSTBUS_IMAPD_SORT_KEY_H
#define POSTBUS_IMAPD_SORT_KEY_H

#include "libcommon/store/mailbox.h"
#include "services/imapd/limits.h"
#include "services/imapd/syntax/parse.h"

enum sort_by {
    SORT_ARRIVAL,
    SORT_SIZE,
    SORT_DATE,
    SORT_SUBJECT,
    SORT_FROM,
    SORT_TO,
    SORT_CC,
    SORT_DISPLAY_FROM,
    SORT_DISPLAY_TO,
};

struct sort_program {
    size_t count;
    struct {
        enum sort_by by;
        bool reverse;
    } keys[LIMIT_SORT_KEYS];
    bool needs_header;
};

/* A message with its values, in the order of the program's keys: a number or bytes. */
struct sort_entry {
    uint32_t uid;
    struct sort_value {
        int64_t number;
        struct slice bytes;
    } *values;
};

/* "(REVERSE DATE SUBJECT)". NULL, or the reason of a BAD. */
const char *sort_parse_program(struct parser *p, struct sort_program *program);
/* header: the fields of the message that the store keeps, or all. The values are in arena. */
void sort_make_entry(struct arena *arena, const struct sort_program *program, const struct mailbox_record *r,
                     struct slice header, struct sort_entry *out);
/* The order of two entries: below 0 if a is before b. */
int sort_compare(const struct sort_program *program, const struct sort_entry *a, const struct sort_entry *b);
/* Sorts entries that are in mailbox order; equal ones stay in it. */
void sort_entries(const struct sort_program *program, size_t count, struct sort_entry entries[]);

/* The sent date (RFC 5256 §2.2): of the Date field, or INTERNALDATE when there is no valid one. */
int64_t sort_sent_date(struct slice header, int64_t internal_date);

#endif
