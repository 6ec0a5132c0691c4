/* Decides which messages fit search keys, for SEARCH, SORT, THREAD and MULTISEARCH. Flags, dates
 * and sizes are compared in the view; header fields in the store's cache, a batch at a time; bodies
 * are read a few at a time, and only for messages that the other keys do not exclude. No piece of it
 * holds the loop for long. */
#ifndef POSTBUS_IMAPD_SEARCH_RUN_H
#define POSTBUS_IMAPD_SEARCH_RUN_H

#include "services/imapd/search/search.h"

struct text_search;
struct search_run;

/* The run is over: run->error, run->no_room, or the found uids. */
typedef void search_done_fn(struct session *s, struct search_run *run);
/* A message was found. header: its fields, at least those that the store keeps
 * (mailbox_header_is_cached); valid during the call. It may set
 * run->no_room. */
typedef void search_found_fn(struct session *s, struct search_run *run, const struct mailbox_record *r,
                             struct slice header);

/* The first group is the caller's, and the struct is the first member of s->job. */
struct search_run {
    struct search search; /* of parse_search */
    const struct view *view;
    search_found_fn *found_one; /* may be NULL; if not, headers are read for it */
    search_done_fn *done;
    struct arena *arena;  /* for what it needs; NULL: the command's */
    const uint32_t *only; /* NULL: all messages of the view; otherwise these, ascending */
    size_t only_count;
    bool quiet;           /* tells no progress: it belongs to no command */
    struct slice mailbox; /* named in the response (RFC 7377 §2.1); n 0: it is the selected one */

    uint32_t *found; /* uids in ascending order, in this arena */
    size_t found_count;
    uint64_t highest, first_modseq, last_modseq; /* modseqs of the found messages: the highest, that
                                                    of the first and that of the last one */
    int error;                                   /* enum store_error */
    bool no_room;                                /* in POSTBUS_IMAP_MEMORY */

    /* private */
    uint32_t *uids; /* candidates */
    size_t candidate_count, next, batch, batch_asked;
    enum mailbox_column column;        /* that was asked for */
    bool *fits;                        /* for each candidate whose message was read */
    size_t in_flight, bytes_in_flight; /* messages that were asked for */
    size_t scanned;                    /* records of the view */
    /* the message whose text is searched, when that takes more than one turn of the loop */
    struct text_search *text;
    char *message;
    size_t message_bytes, taken;
    bool *found_texts;
    int64_t told_us; /* when INPROGRESS was told */
};

/* Begins; done is called, at once or later. Sets s->release, unless the command has set its own,
 * which calls search_run_end. */
void search_run_start(struct session *s, struct search_run *run);
/* Frees what the run has outside the arena. */
void search_run_end(struct session *s);
/* Answers NO for a run that has failed. */
void search_run_refuse(struct session *s, const struct search_run *run);

/* The charset of search keys (RFC 3501 §6.4.4): UTF-8 and US-ASCII. */
bool search_charset_is_known(struct slice name);
/* Answers NO [BADCHARSET]. */
void search_refuse_charset(struct session *s);

#endif
