/* The compact copy of a selected folder: sequence number → record. Updated with the answers of
 * mailbox_sync. */
#ifndef POSTBUS_IMAPD_VIEW_H
#define POSTBUS_IMAPD_VIEW_H

#include "libcommon/store/mailbox.h"

struct view {
    uint32_t folder_id; /* 0: nothing selected */
    bool read_only;
    uint32_t uidvalidity, uidnext;
    uint64_t modseq; /* all changes up to this one are included */
    size_t count, room;
    struct mailbox_record *records; /* in uid order; sequence number = index + 1 */
    bool *fetched;                  /* for each record: its body was read in this session */
    size_t keyword_count;
    char *keywords[MAILBOX_KEYWORDS_MAX];
};

void view_free(struct view *v); /* and empties it */
/* Copies uidnext, keywords and so on. True when the keywords have changed. */
bool view_take_folder(struct view *v, const struct mailbox_folder *folder);
/* The index of the first record with at least this uid (count when there is none). */
size_t view_lower(const struct view *v, uint32_t uid);
/* The record of a uid, or NULL. */
struct mailbox_record *view_find(const struct view *v, uint32_t uid);
void view_append(struct view *v, const struct mailbox_record *record);
/* Makes room for this many records in total. */
void view_reserve(struct view *v, size_t count);
static inline size_t view_sequence(const struct view *v, const struct mailbox_record *record) {
    return (size_t)(record - v->records) + 1;
}
/* Removes messages: `gone` in ascending order; uids that are not in the view are ignored.
 * told(sequence, uid) is called for each removed message, with its sequence number at that
 * moment. */
void view_remove(struct view *v, size_t count, const uint32_t gone[],
                 void (*told)(void *ctx, size_t sequence, uint32_t uid), void *ctx);

#endif
