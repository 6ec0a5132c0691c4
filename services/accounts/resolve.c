/* accounts.resolve: the mailboxes of an address, with aliases expanded; accounts.owns: whether a
 * user may send as an address. */
#include "libcommon/codec/resolve.h"
#include "libcommon/base/arena.h"
#include "libcommon/base/member.h"
#include "services/accounts/expand.h"

static void answer(struct ask *a, const struct resolve_reply *reply) {
    struct buf text = {0};
    if (resolve_reply_write(reply, &text))
        ask_answer_text(a, buf_slice(&text));
    else
        ask_refuse(a, "invalid", "the address leads to one that is not UTF-8");
    buf_free(&text);
}

static void answer_local(struct ask *a, const struct expansion *x) {
    struct arena *arena = arena_create();
    struct resolve_reply reply = {.kind = RESOLVE_LOCAL};
    size_t i;
    json_t *one;
    reply.users = arena_alloc(arena, (json_array_size(x->users) + 1) * sizeof *reply.users);
    reply.remotes = arena_alloc(arena, (json_array_size(x->remote) + 1) * sizeof *reply.remotes);
    json_array_foreach(x->users, i, one) reply.users[reply.user_count++] =
        (struct resolve_user){member_slice(one, "user"), member_slice(one, "address")};
    json_array_foreach(x->remote, i, one) reply.remotes[reply.remote_count++] = slice_of(json_string_value(one));
    answer(a, &reply);
    arena_destroy(arena);
}

static void resolve_done(struct expansion *x) {
    struct ask *a = x->ask;
    if (x->problem) /* all or nothing: a message for some of them would be lost for the others */
        ask_refuse(a, "too_many", x->problem);
    else if (x->first_remote)
        answer(a, &(struct resolve_reply){.kind = RESOLVE_REMOTE});
    else if (x->first_unknown || (json_array_size(x->users) == 0 && json_array_size(x->remote) == 0))
        answer(a, &(struct resolve_reply){.kind = RESOLVE_UNKNOWN});
    else
        answer_local(a, x);
    expansion_free(x);
}

static void on_resolve(void *ctx, struct bus_call *call, struct slice text) {
    struct ask *a = ask_create(ctx, call, NULL);
    struct arena *arena = arena_create();
    struct slice address;
    const char *fault = resolve_ask_read(arena, text, &address);
    if (fault)
        ask_refuse(a, "invalid", fault);
    else if (ask_set_address(a, address))
        expand(a, resolve_done);
    arena_destroy(arena);
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
    bus_serve_text(s->worker->bus, "resolve", on_resolve, s);
    bus_serve(s->worker->bus, "owns", on_owns, s);
}
