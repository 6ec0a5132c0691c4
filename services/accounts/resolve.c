/* accounts.resolve: the mailboxes of an address, with aliases expanded; accounts.owns: whether a
 * user may send as an address. */
#include "services/accounts/expand.h"

static void resolve_done(struct expansion *x) {
    struct ask *a = x->ask;
    json_t *reply;
    if (x->problem) { /* all or nothing: a message for some of them would be lost for the others */
        const char *problem = x->problem;
        expansion_free(x);
        ask_refuse(a, "too_many", problem);
        return;
    }
    if (x->first_remote)
        reply = json_pack("{s:s}", "kind", "remote");
    else if (x->first_unknown || (json_array_size(x->users) == 0 && json_array_size(x->remote) == 0))
        reply = json_pack("{s:s}", "kind", "unknown");
    else
        reply = json_pack("{s:s,s:O,s:O}", "kind", "local", "users", x->users, "remote", x->remote);
    expansion_free(x);
    ask_answer(a, reply);
}

static void on_resolve(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_address(a, "address")) expand(a, resolve_done);
}

static void owns_done(struct expansion *x) {
    struct ask *a = x->ask;
    const char *problem = x->problem;
    bool owns = json_object_get(x->seen_users, ask_text(a, "user")) != NULL;
    expansion_free(x);
    if (problem && !owns)
        ask_refuse(a, "too_many", problem);
    else
        ask_answer(a, json_pack("{s:b}", "owns", owns));
}

static void on_owns(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_address(a, "address")) expand(a, owns_done);
}

void resolve_start(struct accounts *s) {
    bus_serve(s->worker->bus, "resolve", on_resolve, s);
    bus_serve(s->worker->bus, "owns", on_owns, s);
}
