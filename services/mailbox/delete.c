/* mailbox.delete: all of a deleted user's mail goes. Asked again, it goes on where it stopped. */
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "services/mailbox/mailbox_service.h"

struct deletion {
    struct mailbox_worker *m;
    struct bus_call *call;
    char user[ULID_BYTES];
};

static void on_deleted(void *ctx, int error) {
    struct deletion *d = ctx;
    struct mailbox_worker *m = d->m;
    if (error) {
        refuse_store_error(d->call, error);
    } else {
        log_info("a user's mail was deleted", "user", d->user, NULL);
        say_changed(m, slice_of(d->user), 0, 0, "folders");
        bus_answer(d->call, json_object());
    }
    free(d);
    requests_end(m);
}

static void on_ask(void *ctx, struct bus_call *call, const json_t *ask) {
    struct mailbox_worker *m = ctx;
    struct slice user = ask_text(ask, "user");
    if (!ulid_is_valid(user)) {
        bus_refuse(call, "not_found", "there is no such user");
        return;
    }
    if (!requests_begin(m, call)) return;
    struct deletion *d = memory_alloc(sizeof *d);
    d->m = m;
    d->call = call;
    memcpy(d->user, user.p, user.n);
    mailbox_delete_user(m->worker->redis, user, on_deleted, d);
}

void delete_serve(struct mailbox_worker *m) { bus_serve(m->worker->bus, "delete", on_ask, m); }
