/* mailbox.stat: the size of a mailbox, for people and for quotas. */
#include <stdlib.h>

#include "libcommon/base/member.h"
#include "services/mailbox/mailbox_service.h"

struct statistics {
    struct mailbox_worker *m;
    struct bus_call *call;
    json_t *reply;
    char user[ULID_BYTES];
};

static void end(struct statistics *s, int error) {
    struct mailbox_worker *m = s->m;
    if (error) {
        json_decref(s->reply);
        refuse_store_error(s->call, error);
    } else {
        bus_answer(s->call, s->reply);
    }
    free(s);
    requests_end(m, 0);
}

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct statistics *s = ctx;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct mailbox_folder *f = &folders[i];
        json_array_append_new(list, json_pack("{s:I, s:s%, s:I, s:I, s:I}", "id", (json_int_t)f->id, "name", f->name.p,
                                              f->name.n, "messages", (json_int_t)f->messages, "unseen",
                                              (json_int_t)f->unseen, "bytes", (json_int_t)f->bytes));
    }
    json_object_set_new(s->reply, "folders", list);
    end(s, error);
}

static void on_stat(void *ctx, int error, const struct mailbox_stat *stat) {
    struct statistics *s = ctx;
    if (error) {
        end(s, error);
        return;
    }
    s->reply = json_pack("{s:I, s:I, s:I}", "bytes", (json_int_t)stat->bytes, "messages", (json_int_t)stat->messages,
                         "quota_bytes", (json_int_t)stat->quota_bytes);
    mailbox_folders(s->m->worker->redis, slice_of(s->user), on_folders, s);
}

static void on_ask(void *ctx, struct bus_call *call, const json_t *ask) {
    struct mailbox_worker *m = ctx;
    struct slice user = member_slice(ask, "user");
    if (!ulid_is_valid(user)) {
        bus_refuse(call, "not_found", "there is no such user");
        return;
    }
    if (!requests_begin(m, call, 0)) return;
    struct statistics *s = memory_alloc(sizeof *s);
    s->m = m;
    s->call = call;
    memcpy(s->user, user.p, user.n);
    mailbox_stat(m->worker->redis, user, on_stat, s);
}

void stat_serve(struct mailbox_worker *m) { bus_serve(m->worker->bus, "stat", on_ask, m); }
