/* The selected folder as a session's client knows it: a version of the folder (version.h). It
 * changes only when the client is told so (tell.c), so sequence numbers are always those that the
 * client knows. A record that a function returns is valid until then. */
#ifndef POSTBUS_IMAPD_VIEW_H
#define POSTBUS_IMAPD_VIEW_H

#include "services/imapd/syntax/set.h"
#include "services/imapd/view/snapshot.h"

struct view {
    uint32_t folder_id; /* 0: nothing selected */
    bool read_only;
    struct version *told; /* what the client knows; NULL: nothing selected */
    /* of the version: */
    uint32_t uidvalidity, uidnext;
    uint64_t modseq;
    size_t count;
    uint32_t keyword_generation;
    size_t keyword_count;
    char *const *keywords;

    struct snapshot_viewer viewer; /* of the copy that the worker's sessions share */
    /* uids of messages that are recent (\Recent of RFC 3501): the last LIMIT_RECENT_RANGES ranges */
    struct range *recent;
    size_t recent_count;
    struct range *fetched; /* uids of the messages whose bodies were read in this session */
    size_t fetched_count, fetched_room;
};

/* Selects a folder that viewer has joined and whose state is known: the client is told this state
 * now. */
void view_open(struct view *v, bool read_only);
/* Nothing is selected any more. */
void view_close(struct view *v);
/* The client was told this version; takes the reference. */
void view_tell(struct view *v, struct version *told);
/* The client was told these keywords, those of a version that the caller holds until view_tell. */
void view_tell_keywords(struct view *v, const struct keywords *keywords);
/* Whether the client does not know the last known state. */
bool view_is_behind(const struct view *v);

/* The index of the first message with at least this uid (count when there is none). */
size_t view_lower(const struct view *v, uint32_t uid);
/* The record of a uid, or NULL. */
const struct mailbox_record *view_find(const struct view *v, uint32_t uid);
/* The message with this index (< count); its sequence number is one more. */
const struct mailbox_record *view_at(const struct view *v, size_t index);
/* The uids of up to max messages from this index (< count) on; returns how many, at least 1. */
size_t view_uids(const struct view *v, size_t index, size_t max, uint32_t uids[]);
size_t view_sequence(const struct view *v, const struct mailbox_record *record);
/* The highest uid; 0 in an empty folder. */
uint32_t view_last_uid(const struct view *v);

/* Whether the view knows what the bits of flags stand for: a new keyword may have got one. A record
 * with others is told after the next look. generation: of the keywords of these bits. */
static inline bool view_knows_flags(const struct view *v, uint32_t generation, uint64_t flags) {
    if (!(flags >> MAILBOX_KEYWORD_SHIFT)) return true;
    if (generation != v->keyword_generation) return false;
    return v->keyword_count >= MAILBOX_KEYWORDS_MAX || !(flags >> (MAILBOX_KEYWORD_SHIFT + v->keyword_count));
}
/* The records after a change by this session, of which its client is told now. Those with unknown
 * keywords are left for the next look. */
void view_learn(struct view *v, uint32_t generation, size_t count, const struct mailbox_record records[]);
/* Messages with these uids are recent in this session; first is above those noted before. */
void view_note_recent(struct view *v, uint32_t first, uint32_t last);
bool view_is_recent(const struct view *v, uint32_t uid);
size_t view_count_recent(const struct view *v);
/* Notes that the message's body was read. False when it was before, or when too many separate
 * messages are noted (LIMIT_FETCHED_RANGES). */
bool view_mark_fetched(struct view *v, uint32_t uid);

#endif
