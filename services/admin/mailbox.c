/* /api/v1/accounts/{address}/folders and /messages: what a mailbox holds, for export and import. The mailbox is read
 * and changed through the mailbox module, as imapd does it. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/ulid.h"
#include "libcommon/codec/events.h"
#include "libcommon/store/mailbox.h"
#include "services/admin/mailbox_job.h"

enum { KEYWORD_MAX = 100 };
static const char *const system_flags[] = {"\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"};

static struct redis *store(const struct mailbox_job *job) { return job->admin->worker->redis; }
static struct slice user(const struct mailbox_job *job) { return slice_of(job->user); }

void mailbox_job_end(struct mailbox_job *job) {
    if (job->request) job->request->held = NULL;
    free(job->words);
    free(job);
}

void mailbox_job_problem(struct mailbox_job *job, unsigned status, const char *detail) {
    if (job->request) request_problem(job->request, status, detail);
    mailbox_job_end(job);
}

void mailbox_job_store_problem(struct mailbox_job *job, int error) {
    switch (error) {
    case STORE_NOT_FOUND: mailbox_job_problem(job, 404, "there is no such folder or message"); return;
    case STORE_OVER_QUOTA: mailbox_job_problem(job, 507, "the mailbox is full: raise its quota"); return;
    case STORE_INVALID: mailbox_job_problem(job, 422, "a folder cannot have this name"); return;
    case STORE_FULL:
        mailbox_job_problem(job, 507, "the store has no room, or the mailbox has too many folders");
        return;
    default: mailbox_job_problem(job, 503, "the store does not answer: try again"); return;
    }
}

static void on_account(struct request *r, int error, const json_t *reply) {
    struct mailbox_job *job = (struct mailbox_job *)(void *)((char *)r->held - offsetof(struct mailbox_job, request));
    const char *id = json_string_value(json_object_get(reply, "user"));
    if (error || !id || strlen(id) != ULID_LENGTH) {
        request_problem_bus(r, reply);
        mailbox_job_end(job);
        return;
    }
    memcpy(job->user, id, ULID_LENGTH);
    job->then(job);
}

void mailbox_job_changed(const struct mailbox_job *job, uint32_t folder_id) {
    struct mailbox_changed event = {user(job), SLICE("delivered"), (int64_t)folder_id, 0};
    struct buf text = {0};
    if (mailbox_changed_write(&event, &text))
        bus_publish_text(job->admin->worker->bus, "mailbox.changed", user(job), buf_slice(&text));
    buf_free(&text);
}

void mailbox_job_begin(struct mailbox_job *job, void (*then)(struct mailbox_job *job)) {
    json_t *ask = json_pack("{s:s}", "address", job->request->part);
    if (!ask) {
        mailbox_job_problem(job, 400, "the address is not UTF-8");
        return;
    }
    job->then = then;
    request_ask(job->request, "accounts.account.get", ask, ASK_MS, on_account);
}

struct mailbox_job *mailbox_job_create(struct request *r) {
    struct mailbox_job *job = memory_alloc(sizeof *job);
    *job = (struct mailbox_job){.request = r, .admin = r->admin};
    r->held = &job->request;
    return job;
}

/* ?folder=; NULL after answering. */
static const char *folder_of(struct request *r) {
    const char *name = request_query(r, "folder");
    if (!name || !*name || strlen(name) > MAILBOX_NAME_MAX) request_problem(r, 400, "name the folder: ?folder=INBOX");
    return name && *name && strlen(name) <= MAILBOX_NAME_MAX ? name : NULL;
}

/* Folders */

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct mailbox_job *job = ctx;
    if (error) {
        mailbox_job_store_problem(job, error);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct mailbox_folder *f = &folders[i];
        json_array_append_new(list, json_pack("{s:s%, s:I, s:I, s:I, s:I, s:I, s:b, s:s%}", "name", f->name.p,
                                              f->name.n, "uidvalidity", (json_int_t)f->uidvalidity, "uidnext",
                                              (json_int_t)f->uidnext, "messages", (json_int_t)f->messages, "unseen",
                                              (json_int_t)f->unseen, "bytes", (json_int_t)f->bytes, "subscribed",
                                              f->subscribed, "special_use", f->special_use.p, f->special_use.n));
    }
    if (job->request) request_answer(job->request, 200, json_pack("{s:o}", "folders", list));
    mailbox_job_end(job);
}

static void list_folders(struct mailbox_job *job) { mailbox_folders(store(job), user(job), on_folders, job); }
void folders_get(struct request *r) { mailbox_job_begin(mailbox_job_create(r), list_folders); }

static void on_subscribed(void *ctx, int error) {
    struct mailbox_job *job = ctx;
    if (error) {
        mailbox_job_store_problem(job, error);
        return;
    }
    if (job->request) request_answer(job->request, 204, NULL);
    mailbox_job_end(job);
}

static void on_created(void *ctx, int error, uint32_t folder_id, uint32_t uidvalidity) {
    struct mailbox_job *job = ctx;
    (void)folder_id, (void)uidvalidity;
    if ((error && error != STORE_EXISTS) || !job->request) {
        mailbox_job_store_problem(job, error);
        return;
    }
    const json_t *subscribed = json_object_get(job->request->json, "subscribed");
    const char *name = json_string_value(json_object_get(job->request->json, "name"));
    mailbox_folder_subscribe(store(job), user(job), slice_of(name), !json_is_false(subscribed), on_subscribed, job);
}

static void create_folder(struct mailbox_job *job) {
    const char *name = json_string_value(json_object_get(job->request->json, "name"));
    const char *use = json_string_value(json_object_get(job->request->json, "special_use"));
    mailbox_folder_create(store(job), user(job), slice_of(name), slice_of(use), on_created, job);
}

static bool is_use(const char *use) {
    static const char *const uses[] = {"\\Drafts", "\\Sent", "\\Junk", "\\Trash", "\\Archive"};
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        if (strcmp(use, uses[i]) == 0) return true;
    return false;
}

void folder_put(struct request *r) {
    const char *use = json_string_value(json_object_get(r->json, "special_use"));
    if (use && !is_use(use))
        request_problem(r, 422, "special_use is \\Drafts, \\Sent, \\Junk, \\Trash or \\Archive");
    else
        mailbox_job_begin(mailbox_job_create(r), create_folder);
}

/* Listing */

static void add_json_text(struct slice text, struct buf *out) {
    json_t *value = json_stringn(text.p, text.n);
    char *json = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    buf_add_str(out, json ? json : "\"\"");
    free(json);
    json_decref(value);
}

static void add_flags(const struct mailbox_folder *folder, uint64_t flags, struct buf *out) {
    bool any = false;
    for (size_t i = 0; i < 64; i++) {
        bool system = i < sizeof system_flags / sizeof *system_flags;
        if (!(flags & (uint64_t)1 << i) ||
            (!system && (i < MAILBOX_KEYWORD_SHIFT || i - MAILBOX_KEYWORD_SHIFT >= folder->keyword_count)))
            continue;
        if (any) buf_add_char(out, ',');
        any = true;
        add_json_text(system ? slice_of(system_flags[i]) : folder->keywords[i - MAILBOX_KEYWORD_SHIFT], out);
    }
}

static void on_synced(void *ctx, int error, const struct mailbox_folder *folder, bool full, size_t count,
                      const struct mailbox_record records[], size_t vanished_count, const uint32_t vanished[]) {
    struct mailbox_job *job = ctx;
    struct buf out = {0};
    (void)full, (void)vanished_count, (void)vanished;
    if (error) {
        mailbox_job_store_problem(job, error);
        return;
    }
    buf_printf(&out, "{\"uidvalidity\":%u,\"messages\":[", folder->uidvalidity);
    for (size_t i = 0; i < count; i++) {
        const struct mailbox_record *m = &records[i];
        char email[MAILBOX_OBJECT_ID_MAX];
        struct slice email_id = mailbox_email_id(m, email);
        buf_printf(&out, "%s{\"uid\":%u,\"size\":%u,\"date\":%lld,\"id\":\"%s\",\"email_id\":\"%.*s\",\"flags\":[",
                   i ? "," : "", m->uid, m->size, (long long)m->date, m->blob, SLICE_FMT(email_id));
        add_flags(folder, m->flags, &out);
        buf_add_str(&out, "]}");
    }
    buf_add_str(&out, "]}");
    if (job->request) request_answer_text(job->request, 200, "application/json", buf_slice(&out));
    buf_free(&out);
    mailbox_job_end(job);
}

/* The folder of ?folder= as folder_id; false after answering. */
static bool take_folder(struct mailbox_job *job, int error, size_t count, const struct mailbox_folder folders[]) {
    if (error || !count || !job->request) {
        mailbox_job_store_problem(job, error ? error : STORE_NOT_FOUND);
        return false;
    }
    job->folder_id = folders[0].id;
    return true;
}

static void on_listed_folder(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct mailbox_job *job = ctx;
    if (take_folder(job, error, count, folders)) mailbox_sync(store(job), user(job), job->folder_id, 0, on_synced, job);
}

static void list_messages(struct mailbox_job *job) {
    mailbox_folder_find(store(job), user(job), slice_of(request_query(job->request, "folder")), on_listed_folder, job);
}
void messages_get(struct request *r) {
    if (folder_of(r)) mailbox_job_begin(mailbox_job_create(r), list_messages);
}

/* Reading */

static void on_message(void *ctx, int error, struct slice message) {
    struct mailbox_job *job = ctx;
    if (error) {
        mailbox_job_store_problem(job, error);
        return;
    }
    if (!job->request || !request_take_room(job->request, message.n)) {
        mailbox_job_problem(job, 503, "too many messages are being read or written: try again");
        return;
    }
    request_answer_text(job->request, 200, "message/rfc822", message);
    mailbox_job_end(job);
}

static void on_read_folder(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct mailbox_job *job = ctx;
    if (take_folder(job, error, count, folders))
        mailbox_read(store(job), user(job), job->folder_id, job->uid, on_message, job);
}

static void read_message(struct mailbox_job *job) {
    mailbox_folder_find(store(job), user(job), slice_of(request_query(job->request, "folder")), on_read_folder, job);
}

void message_get(struct request *r) {
    const char *uid = request_query(r, "uid");
    uint64_t number;
    if (!folder_of(r)) return;
    if (!uid || slice_to_u64(slice_of(uid), UINT32_MAX, &number) != 0) {
        request_problem(r, 400, "name the message: ?uid=1");
        return;
    }
    struct mailbox_job *job = mailbox_job_create(r);
    job->uid = (uint32_t)number;
    mailbox_job_begin(job, read_message);
}

/* Adding */

static void on_added(void *ctx, int error, uint32_t uidvalidity, uint32_t uid) {
    struct mailbox_job *job = ctx;
    if (error && error != STORE_EXISTS) {
        mailbox_job_store_problem(job, error);
        return;
    }
    if (!error) mailbox_job_changed(job, job->folder_id);
    if (job->request && error)
        request_answer(job->request, 200, json_pack("{s:b}", "duplicate", 1));
    else if (job->request)
        request_answer(job->request, 201,
                       json_pack("{s:b, s:I, s:I}", "duplicate", 0, "uidvalidity", (json_int_t)uidvalidity, "uid",
                                 (json_int_t)uid));
    mailbox_job_end(job);
}

static void on_target_folder(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct mailbox_job *job = ctx;
    if (!take_folder(job, error, count, folders)) return;
    mailbox_import(store(job), user(job), job->folder_id, slice_of(request_query(job->request, "id")),
                   buf_slice(&job->request->body), job->flags, job->keyword_count, job->keywords, job->date, on_added,
                   job);
}

static void add_message(struct mailbox_job *job) {
    mailbox_folder_find(store(job), user(job), slice_of(request_query(job->request, "folder")), on_target_folder, job);
}

/* A keyword is an atom (RFC 9051 §9). */
static bool is_keyword(struct slice word) {
    if (word.n > KEYWORD_MAX) return false;
    for (size_t i = 0; i < word.n; i++)
        if (word.p[i] <= ' ' || word.p[i] > '~' || strchr("(){%*\"\\]", word.p[i])) return false;
    return word.n > 0;
}

/* "\Seen work": system flags and keywords, separated by spaces. */
static bool read_flags(struct mailbox_job *job, const char *text) {
    job->words = memory_copy(slice_of(text));
    struct slice rest = slice_trim(slice_of(job->words)), one;
    while (rest.n) {
        size_t system = 0;
        if (!slice_cut(&rest, ' ', &one)) {
            one = rest;
            rest.n = 0;
        }
        if (!one.n) continue;
        while (system < sizeof system_flags / sizeof *system_flags && !slice_is_nocase(one, system_flags[system]))
            system++;
        if (system < sizeof system_flags / sizeof *system_flags)
            job->flags |= (uint64_t)1 << system;
        else if (is_keyword(one) && job->keyword_count < MAILBOX_JOB_FLAGS)
            job->keywords[job->keyword_count++] = one;
        else
            return false;
    }
    return true;
}

void message_post(struct request *r) {
    const char *date = request_query(r, "date"), *flags = request_query(r, "flags"), *id = request_query(r, "id");
    uint64_t seconds = (uint64_t)(clock_wall_ms() / 1000);
    if (!folder_of(r)) return;
    if (!id || !ulid_is_valid(slice_of(id)) || strncmp(id, "0000000000", 10) != 0) {
        request_problem(r, 400, "?id= is a ULID of the time 0, which depends on the message alone");
        return;
    }
    if (date && slice_to_u64(slice_of(date), (uint64_t)1 << 40, &seconds) != 0) {
        request_problem(r, 400, "?date= is the time of arrival in seconds since 1970");
        return;
    }
    if (!r->body.n) {
        request_problem(r, 422, "the body is the message, and is not empty");
        return;
    }
    struct mailbox_job *job = mailbox_job_create(r);
    job->date = (int64_t)seconds;
    if (read_flags(job, flags ? flags : ""))
        mailbox_job_begin(job, add_message);
    else
        mailbox_job_problem(job, 422, "?flags= are system flags and keywords, separated by spaces, at most 64");
}
