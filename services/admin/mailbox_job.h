/* A request about a mailbox while it waits for the store: mailbox.c, undo.c. */
#ifndef POSTBUS_ADMIN_MAILBOX_JOB_H
#define POSTBUS_ADMIN_MAILBOX_JOB_H

#include "libcommon/base/ulid.h"
#include "libcommon/store/mailbox.h"
#include "services/admin/admin.h"

enum { MAILBOX_JOB_FLAGS = 64 };

/* request: NULL when it has ended before (the service stops). */
struct mailbox_job {
    struct request *request;
    void (*then)(struct mailbox_job *job); /* when the user is known */
    struct admin *admin;
    char user[ULID_BYTES];
    uint32_t folder_id, uid;
    uint64_t flags;
    size_t keyword_count;
    struct slice keywords[MAILBOX_JOB_FLAGS]; /* views of words */
    char *words;
    int64_t date;
};

struct mailbox_job *mailbox_job_create(struct request *r);
/* Finds the account of the path, then calls then(). */
void mailbox_job_begin(struct mailbox_job *job, void (*then)(struct mailbox_job *job));
/* After the answer, or with the problem as the answer: frees the job. */
void mailbox_job_end(struct mailbox_job *job);
void mailbox_job_problem(struct mailbox_job *job, unsigned status, const char *detail);
void mailbox_job_store_problem(struct mailbox_job *job, int error);
/* Says that a folder has changed. */
void mailbox_job_changed(const struct mailbox_job *job, uint32_t folder_id);

#endif
