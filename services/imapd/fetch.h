/* The items of a FETCH, and their values for a message (RFC 9051 §6.4.5, §7.5.2). */
#ifndef POSTBUS_IMAPD_FETCH_H
#define POSTBUS_IMAPD_FETCH_H

#include "services/imapd/imapd.h"

enum fetch_kind {
    FETCH_UID,
    FETCH_FLAGS,
    FETCH_INTERNALDATE,
    FETCH_SIZE,
    FETCH_MODSEQ,
    FETCH_ENVELOPE,
    FETCH_BODY,
    FETCH_BODYSTRUCTURE,
    FETCH_SECTION, /* BODY[…], and RFC822, RFC822.HEADER, RFC822.TEXT, which differ only in their label */
    FETCH_BINARY,
    FETCH_BINARY_SIZE,
};

enum section_text {
    SECTION_ALL,
    SECTION_HEADER,
    SECTION_HEADER_FIELDS,
    SECTION_HEADER_FIELDS_NOT,
    SECTION_TEXT,
    SECTION_MIME
};

struct section {
    uint32_t path[LIMIT_SECTION_DEPTH];
    size_t depth;
    enum section_text text;
    size_t name_count; /* of HEADER.FIELDS */
    struct slice *names;
};

struct fetch_item {
    enum fetch_kind kind;
    bool peek;
    struct section section;
    bool partial;
    uint32_t offset, length;
    struct slice label; /* "BODY[1.TEXT]<0>" as in the response */
};

struct fetch_items {
    size_t count;
    struct fetch_item *items;
    bool sets_seen;    /* one of them is BODY[…] without PEEK */
    bool needs_cached; /* envelope, structure or only header fields that are cached */
    bool needs_message;
    bool has_uid, has_flags, has_modseq;
};

/* "ALL", "FLAGS" or "(UID BODY.PEEK[])": false for bad syntax. */
bool parse_fetch_items(struct parser *p, struct fetch_items *items);
/* "[1.2.HEADER.FIELDS (From To)]" after BODY or BODY.PEEK. */
bool parse_section(struct parser *p, struct section *section);
/* Determines what is needed; called when all items have been read. */
void fetch_plan(struct fetch_items *items);

/* The bytes of a section in a message, into out (which is emptied first). False when there is no such part. Pure. */
bool section_read(struct slice message, const struct section *section, struct buf *out);
/* Writes a section of header fields from the cached header. */
void section_read_fields(struct slice header, const struct section *section, struct buf *out);
/* The decoded bytes of a part (RFC 3516). 0; -1: no such part; -2: its encoding is unknown. */
int section_read_binary(struct slice message, const struct section *section, struct buf *out);

/* Writes "* n FETCH (…)". cached and message: NULL if not needed. with_flags: add FLAGS even if not requested. */
void fetch_write(struct session *s, const struct fetch_items *items, const struct mailbox_record *record,
                 const struct mailbox_cached *cached, const struct slice *message, bool with_flags);

#endif
