/* The compact copy of a selected folder: sequence number → record. Brought up to date by what mailbox_sync answers. */
#ifndef POSTBUS_IMAPD_VIEW_H
#define POSTBUS_IMAPD_VIEW_H

#include "libcommon/store/mailbox.h"

struct view {
    uint32_t folder_id; /* 0: nothing selected */
    bool read_only;
    uint32_t uidvalidity, uidnext;
    uint64_t modseq; /* up to which all changes are in here */
    size_t count, room;
    struct mailbox_record *records; /* in uid order; sequence number = index + 1 */
    bool *fetched;                  /* beside each record: its body was read in this session */
    size_t keyword_count;
    char *keywords[MAILBOX_KEYWORDS_MAX];
};

void view_free(struct view *v); /* and empties it */
/* Takes over uidnext, keywords and so on. True when the keywords are others than before. */
bool view_take_folder(struct view *v, const struct mailbox_folder *folder);
/* The index of the first record whose uid is not below uid (count when there is none). */
size_t view_lower(const struct view *v, uint32_t uid);
/* The record of a uid, or NULL. */
struct mailbox_record *view_find(const struct view *v, uint32_t uid);
void view_append(struct view *v, const struct mailbox_record *record);
/* Makes room for so many records in all. */
void view_reserve(struct view *v, size_t count);
static inline size_t view_sequence(const struct view *v, const struct mailbox_record *record) {
    return (size_t)(record - v->records) + 1;
}
/* Removes messages that are gone: `gone` in rising order; those not in the view are passed over. told(sequence, uid) is
 * called for each as it is removed, the sequence number being the one at that moment. */
void view_remove(struct view *v, size_t count, const uint32_t gone[],
                 void (*told)(void *ctx, size_t sequence, uint32_t uid), void *ctx);

#endif
