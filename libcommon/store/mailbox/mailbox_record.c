/* The packed form of a record (mailbox.lua writes it), and what follows from a record. */
#include "libcommon/store/mailbox/mailbox_private.h"

/* AT_REST: the number of bytes behind it, at the end of what every version has. */
enum { AT_VERSION = 58, AT_REST = 59, FIXED = 60, REST = 16 };

bool mailbox_take_record(struct slice *packed, struct mailbox_record *out) {
    const char *p = packed->p;
    if (packed->n < FIXED) return false;
    size_t rest = (unsigned char)p[AT_REST];
    if (!p[AT_VERSION] || rest < REST || packed->n - FIXED < rest) return false;
    out->uid = mailbox_u32(p);
    out->size = mailbox_u32(p + 4);
    out->modseq = mailbox_u64(p + 8);
    out->flags = mailbox_u64(p + 16);
    out->date = (int64_t)mailbox_u64(p + 24);
    memcpy(out->blob, p + 32, 26);
    out->blob[26] = '\0';
    out->savedate = mailbox_u32(p + FIXED);
    out->variant = mailbox_u32(p + FIXED + 4);
    out->thread = mailbox_u64(p + FIXED + 8);
    *packed = slice_skip(*packed, FIXED + rest);
    return true;
}

void mailbox_records_add(struct mailbox_records *records, struct slice packed) {
    size_t most = records->count + packed.n / (FIXED + REST);
    if (most > records->room) {
        records->room = records->room * 2 > most ? records->room * 2 : most;
        records->all = memory_resize(records->all, records->room * sizeof *records->all);
    }
    while (records->count < records->room && mailbox_take_record(&packed, &records->all[records->count]))
        records->count++;
}

struct slice mailbox_email_id(const struct mailbox_record *record, char out[MAILBOX_OBJECT_ID_MAX]) {
    int n = record->variant ? snprintf(out, MAILBOX_OBJECT_ID_MAX, "%s-%08x", record->blob, record->variant)
                            : snprintf(out, MAILBOX_OBJECT_ID_MAX, "%s", record->blob);
    return slice_make(out, (size_t)n);
}

struct slice mailbox_thread_id(const struct mailbox_record *record, char out[MAILBOX_OBJECT_ID_MAX]) {
    if (!record->thread) return slice_make(out, 0);
    return slice_make(out, (size_t)snprintf(out, MAILBOX_OBJECT_ID_MAX, "T%llu", (unsigned long long)record->thread));
}

struct slice mailbox_folder_object_id(struct slice owner, uint32_t folder_id, char out[MAILBOX_OBJECT_ID_MAX]) {
    uint64_t h = 1469598103934665603u; /* FNV-1a: folders of two accounts differ, shared ones too */
    for (size_t i = 0; i < owner.n; i++) h = (h ^ (unsigned char)owner.p[i]) * 1099511628211u;
    return slice_make(out,
                      (size_t)snprintf(out, MAILBOX_OBJECT_ID_MAX, "F%016llx-%u", (unsigned long long)h, folder_id));
}
