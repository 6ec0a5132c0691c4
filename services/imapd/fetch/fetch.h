/* The items of a FETCH, and their values for a message (RFC 9051 §6.4.5, §7.5.2). */
#ifndef POSTBUS_IMAPD_FETCH_H
#define POSTBUS_IMAPD_FETCH_H

#include "libcommon/mail/mime.h"
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
    FETCH_EMAILID,
    FETCH_THREADID,
    FETCH_SAVEDATE,
    FETCH_PREVIEW,
    FETCH_SECTION, /* BODY[…], and RFC822, RFC822.HEADER, RFC822.TEXT, which differ only in their
                      label */
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
    struct fetch_item *items; /* room for LIMIT_FETCH_ITEMS and the MODSEQ that CHANGEDSINCE adds */
    bool sets_seen;           /* one of them is BODY[…] without PEEK */
    unsigned columns;         /* enum mailbox_column: envelope, structure, header fields that are
                                 cached */
    bool needs_message;
    const struct fetch_item *range; /* the only item that needs the message, BODY[]<a.b>: no more is
                                       read; NULL: the whole is */
    bool has_uid, has_flags, has_modseq;
};

/* "ALL", "FLAGS" or "(UID BODY.PEEK[])": false for bad syntax. */
bool parse_fetch_items(struct parser *p, struct fetch_items *items);
/* How many listings to ask for after a batch of `asked` that had so many bytes: about
 * LIMIT_CACHED_BYTES of them, so that large ones do not add up. Pure. */
size_t fetch_next_batch(size_t asked, size_t bytes);
/* "[1.2.HEADER.FIELDS (From To)]" after BODY or BODY.PEEK. */
bool parse_section(struct parser *p, struct section *section);
/* Determines what is needed; called when all items have been read. */
void fetch_plan(struct fetch_items *items);

/* The bytes of a section: a view of the message, or of `made` where they had to be put together.
 * False when there is no such part. Pure. */
bool section_find(const struct mime *m, const struct section *section, struct buf *made, struct slice *bytes);
/* A section of header fields out of a header block without its empty line. */
void section_read_fields(struct slice header, const struct section *section, struct buf *out);
/* The decoded bytes of a part (RFC 3516). 0; -1: no such part; -2: its encoding is not known, or
 * broken. */
int section_find_binary(const struct mime *m, const struct section *section, struct buf *out);

/* Writes one message's "* n FETCH (...)" in pieces: no more is made than the client takes. A zeroed
 * writer with the fields of the first group set is ready. */
struct fetch_writer {
    struct session *session;
    const struct fetch_items *items;
    uint32_t uid;
    bool with_flags; /* FLAGS is added though not asked for */
    bool has_message;
    bool ranged;                  /* message is the part that items->range asks for */
    struct mailbox_cached cached; /* where needed */
    struct slice message;

    bool begun, spaced, binary;
    bool unknown_encoding; /* BINARY met an encoding that it does not know */
    size_t next;           /* item */
    struct slice rest;     /* of the item before it */
    struct buf made;
    struct arena *arena;
    struct mime *mime;   /* in arena */
    char *room;          /* what fetch_writer_keep copied */
    size_t bytes, taken; /* for cmd_fetch.c's bounds */
    struct fetch_writer *following;
};
/* True when everything is written (also when the message no longer exists); false: to be called
 * again when the output was sent. */
bool fetch_writer_step(struct fetch_writer *w);
/* Copies the data of the writer before its owner frees it. */
void fetch_writer_keep(struct fetch_writer *w);
void fetch_writer_end(struct fetch_writer *w);

#endif
