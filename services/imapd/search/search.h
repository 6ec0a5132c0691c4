/* SEARCH criteria (RFC 9051 §6.4.4) as a tree, and their evaluation for a message. */
#ifndef POSTBUS_IMAPD_SEARCH_H
#define POSTBUS_IMAPD_SEARCH_H

#include "services/imapd/imapd.h"

enum search_kind {
    SEARCH_AND, /* all of its children */
    SEARCH_OR,
    SEARCH_NOT,
    SEARCH_ALL,
    SEARCH_FLAG,     /* number: the bits, all of them set */
    SEARCH_KEYWORD,  /* text */
    SEARCH_SEQUENCE, /* set, of sequence numbers */
    SEARCH_UID,      /* set, of uids */
    SEARCH_BEFORE,   /* number: a day, compared with INTERNALDATE */
    SEARCH_ON,
    SEARCH_SINCE,
    SEARCH_SENT_BEFORE, /* compared with the Date field */
    SEARCH_SENT_ON,
    SEARCH_SENT_SINCE,
    SEARCH_OLDER, /* number: a time, compared with INTERNALDATE (RFC 5032) */
    SEARCH_YOUNGER,
    SEARCH_SAVED_BEFORE, /* number: a day, compared with the save date (RFC 8514 §4.3) */
    SEARCH_SAVED_ON,
    SEARCH_SAVED_SINCE,
    SEARCH_EMAILID, /* text (RFC 8474 §6) */
    SEARCH_THREADID,
    SEARCH_LARGER,
    SEARCH_SMALLER,
    SEARCH_MODSEQ,
    SEARCH_HEADER, /* field, text */
    SEARCH_BODY,
    SEARCH_TEXT,
    SEARCH_RECENT, /* \Recent of sessions before IMAP4rev2 */
    SEARCH_NEW,    /* recent and not seen */
};

/* The data that the evaluation needs. */
enum search_need { NEED_RECORD, NEED_KEYS, NEED_HEADER, NEED_MESSAGE };

struct search_key {
    enum search_kind kind;
    struct search_key *next, *children;
    uint64_t number;
    struct slice field, text; /* text folded (search_text.h), but not a keyword's or an id's */
    size_t index;             /* BODY and TEXT: in search_message.found */
    struct set set;
};

struct search {
    struct search_key *root;
    enum search_need need;
    bool has_modseq;
    int key_count;
    size_t text_count; /* what BODY and TEXT look for */
    struct slice *texts;
};

/* Reads search keys up to the end of the command. NULL, or the reason of a BAD. */
const char *parse_search(struct parser *p, struct session *s, struct search *out);
/* The same about another mailbox than the selected one, in which "$" is nothing. */
const char *parse_search_in(struct parser *p, struct session *s, const struct view *view, struct search *out);

struct search_message {
    const struct view *view;
    const struct mailbox_record *record;
    struct slice header;             /* as far as needed */
    const struct mailbox_keys *keys; /* used instead of the header; NULL: there are none */
    const bool *found;               /* which of search.texts are in the message's text parts; NULL: none */
};
bool search_fits(const struct search_key *key, const struct search_message *m);
/* The text of a field in the keys; NULL: no such field is among them. */
const struct slice *search_keys_field(const struct mailbox_keys *keys, struct slice field);

#endif
