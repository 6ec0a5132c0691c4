/* /api/v1/accounts/{address}/removed, /restore and /undo: what was removed from a mailbox, put back
 * (libcommon/store/undo/mailbox_undo.h). */
#include <string.h>
#include <time.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/store/undo/mailbox_undo.h"
#include "services/admin/mailbox_job.h"

enum { LIST = 100, UNDO_DAYS_MAX = 3650 };

static struct redis *store(const struct mailbox_job *job) { return job->admin->worker->redis; }
static struct slice user(const struct mailbox_job *job) { return slice_of(job->user); }

static json_t *time_json(int64_t seconds) {
    char text[32];
    struct tm tm;
    time_t t = (time_t)seconds;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
    return json_string(text);
}

/* The list */

static void on_removed(void *ctx, int error, const struct mailbox_undo_stat *stat, size_t count,
                       const struct mailbox_removed removed[]) {
    struct mailbox_job *job = ctx;
    if (error) {
        mailbox_job_store_problem(job, error);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct mailbox_removed *m = &removed[i];
        json_t *one = json_pack("{s:o, s:s%}", "at", time_json(m->at), "folder", m->folder.p, m->folder.n);
        if (m->uid)
            json_object_update_new(one, json_pack("{s:s, s:I, s:I, s:o}", "id", m->blob, "uid", (json_int_t)m->uid,
                                                  "size", (json_int_t)m->size, "date", time_json(m->date)));
        else
            json_object_set_new(one, "messages", json_integer((json_int_t)m->messages));
        json_array_append_new(list, one);
    }
    if (job->request)
        request_answer(job->request, 200,
                       json_pack("{s:o, s:I, s:I, s:o}", "from", stat->from ? time_json(stat->from) : json_null(),
                                 "messages", (json_int_t)stat->messages, "bytes", (json_int_t)stat->bytes, "removed",
                                 list));
    else
        json_decref(list);
    mailbox_job_end(job);
}

static void list_removed(struct mailbox_job *job) {
    mailbox_removed(store(job), user(job), (size_t)job->date, on_removed, job);
}

void removed_get(struct request *r) {
    const char *limit = request_query(r, "limit");
    uint64_t max = LIST;
    if (limit && (slice_to_u64(slice_of(limit), PAGE_MAX, &max) != 0 || max == 0)) {
        request_problem(r, 400, "limit is a number from 1 to 1000");
        return;
    }
    struct mailbox_job *job = mailbox_job_create(r);
    job->date = (int64_t)max;
    mailbox_job_begin(job, list_removed);
}

/* Restoring */

static void on_restored(void *ctx, int error, const struct mailbox_restored *done) {
    struct mailbox_job *job = ctx;
    for (size_t i = 0; i < done->folder_count; i++) mailbox_job_changed(job, done->folders[i]);
    switch (error) {
    case 0: break;
    case STORE_CONFLICT: mailbox_job_problem(job, 409, "changes before that time are no longer kept"); return;
    case STORE_NOT_FOUND: mailbox_job_problem(job, 404, "nothing of this was in the mailbox"); return;
    case STORE_INVALID:
        mailbox_job_problem(job, 422, "give the time (at), or name a deleted folder or messages that were removed");
        return;
    default: mailbox_job_store_problem(job, error); return;
    }
    if (job->request)
        request_answer(job->request, 200,
                       json_pack("{s:I, s:I, s:I}", "messages", (json_int_t)done->messages, "flags",
                                 (json_int_t)done->flags, "present", (json_int_t)done->present));
    mailbox_job_end(job);
}

static void restore(struct mailbox_job *job) {
    const json_t *body = job->request->json, *id;
    const char *folder = json_string_value(json_object_get(body, "folder")),
               *beside = json_string_value(json_object_get(body, "beside"));
    struct slice ids[MAILBOX_RESTORE_MESSAGES];
    size_t i;
    struct mailbox_restore what = {.at = job->date,
                                   .folder = slice_of(folder ? folder : ""),
                                   .beside = slice_of(beside ? beside : ""),
                                   .messages = ids};
    json_array_foreach(json_object_get(body, "messages"), i, id) ids[what.message_count++] =
        slice_of(json_string_value(id));
    mailbox_restore(store(job), user(job), &what, on_restored, job);
}

/* RFC 3339, in UTC: 2026-11-29T21:00:00Z; -1: another form. */
static int64_t time_read(const char *text) {
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return end && !*end ? (int64_t)timegm(&tm) : -1;
}

void restore_post(struct request *r) {
    const char *at = json_string_value(json_object_get(r->json, "at"));
    int64_t seconds = at ? time_read(at) : 0;
    if (at && (seconds <= 0 || seconds >= clock_wall_ms() / 1000)) {
        request_problem(r, 422, "at is a time that has passed, in UTC: 2026-11-29T21:00:00Z");
        return;
    }
    if (json_array_size(json_object_get(r->json, "messages")) > MAILBOX_RESTORE_MESSAGES) {
        request_problem(r, 422, "at most 1000 messages can be named");
        return;
    }
    struct mailbox_job *job = mailbox_job_create(r);
    job->date = seconds;
    mailbox_job_begin(job, restore);
}

/* The setting */

static void on_set(void *ctx, int error) {
    struct mailbox_job *job = ctx;
    if (error) {
        mailbox_job_store_problem(job, error);
        return;
    }
    if (job->request) request_answer(job->request, 204, NULL);
    mailbox_job_end(job);
}

static void set_undo(struct mailbox_job *job) { mailbox_undo_set(store(job), user(job), job->date, on_set, job); }

void undo_put(struct request *r) {
    const json_t *days = json_object_get(r->json, "days");
    json_int_t n = days ? json_integer_value(days) : -1;
    if (n > UNDO_DAYS_MAX) {
        request_problem(r, 422, "days is a number up to 3650; without it, the site's setting applies");
        return;
    }
    struct mailbox_job *job = mailbox_job_create(r);
    job->date = days ? n * 86400 : -1;
    mailbox_job_begin(job, set_undo);
}
