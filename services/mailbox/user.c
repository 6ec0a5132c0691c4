/* mailbox.delete: removes all mail of a deleted user. mailbox.quota: sets the quota of a user's
 * mailbox. Both may be repeated. */
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "services/mailbox/mailbox_service.h"

struct job {
    struct mailbox_worker *m;
    struct bus_call *call;
    char user[ULID_BYTES];
};

static void end(struct job *j, int error) {
    struct mailbox_worker *m = j->m;
    if (error)
        refuse_store_error(j->call, error);
    else
        bus_answer(j->call, json_object());
    free(j);
    requests_end(m, 0);
}

/* NULL when the call was refused. */
static struct job *begin(struct mailbox_worker *m, struct bus_call *call, const json_t *ask) {
    struct slice user = member_slice(ask, "user");
    if (!ulid_is_valid(user)) {
        bus_refuse(call, "not_found", "there is no such user");
        return NULL;
    }
    if (!requests_begin(m, call, 0)) return NULL;
    struct job *j = memory_alloc(sizeof *j);
    j->m = m;
    j->call = call;
    memcpy(j->user, user.p, user.n);
    return j;
}

static void on_deleted(void *ctx, int error) {
    struct job *j = ctx;
    if (!error) {
        log_info("a user's mail was deleted", "user", j->user, NULL);
        say_changed(j->m, slice_of(j->user), 0, 0, "folders");
    }
    end(j, error);
}

static void on_delete(void *ctx, struct bus_call *call, const json_t *ask) {
    struct job *j = begin(ctx, call, ask);
    if (j) mailbox_delete_user(j->m->worker->redis, slice_of(j->user), on_deleted, j);
}

static void on_done(void *ctx, int error) { end(ctx, error); }

static void on_quota(void *ctx, struct bus_call *call, const json_t *ask) {
    const json_t *bytes = json_object_get(ask, "quota_bytes");
    if (!json_is_integer(bytes) || json_integer_value(bytes) < 0) {
        bus_refuse(call, "invalid", "quota_bytes must be a number of bytes, or 0 for no quota");
        return;
    }
    struct job *j = begin(ctx, call, ask);
    if (j) mailbox_set_quota(j->m->worker->redis, slice_of(j->user), (uint64_t)json_integer_value(bytes), on_done, j);
}

void user_serve(struct mailbox_worker *m) {
    bus_serve(m->worker->bus, "delete", on_delete, m);
    bus_serve(m->worker->bus, "quota", on_quota, m);
}
