#include "libcommon/codec/resolve.h"

bool resolve_ask_write(struct slice address, struct buf *out) {
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_text(&j, "address", address);
    json_put_end(&j, '}');
    return !j.failed;
}

const char *resolve_ask_read(struct arena *arena, struct slice text, struct slice *address) {
    yyjson_val *o;
    yyjson_doc *doc = json_take(text, &o);
    *address = json_take_copy(arena, o, "address");
    bool there = json_take_text(o, "address").p != NULL;
    yyjson_doc_free(doc);
    return there ? NULL : "there is no address";
}

bool resolve_reply_write(const struct resolve_reply *r, struct buf *out) {
    static const char *const kinds[] = {"unknown", "remote", "local"};
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_word(&j, "kind", kinds[r->kind]);
    if (r->kind == RESOLVE_LOCAL) {
        json_put_array(&j, "users");
        for (size_t i = 0; i < r->user_count; i++) {
            json_put_object(&j, NULL);
            json_put_text(&j, "user", r->users[i].user);
            json_put_text(&j, "address", r->users[i].address);
            json_put_end(&j, '}');
        }
        json_put_end(&j, ']');
        json_put_array(&j, "remote");
        for (size_t i = 0; i < r->remote_count; i++) json_put_text(&j, NULL, r->remotes[i]);
        json_put_end(&j, ']');
    }
    json_put_end(&j, '}');
    return !j.failed;
}

static void read_local(struct arena *arena, yyjson_val *o, struct resolve_reply *out) {
    yyjson_val *users = yyjson_obj_get(o, "users"), *remote = yyjson_obj_get(o, "remote"), *one;
    size_t i, n;
    out->users = arena_alloc(arena, (yyjson_arr_size(users) + 1) * sizeof *out->users);
    out->remotes = arena_alloc(arena, (yyjson_arr_size(remote) + 1) * sizeof *out->remotes);
    yyjson_arr_foreach(users, i, n, one) {
        struct resolve_user u = {json_take_copy(arena, one, "user"), json_take_copy(arena, one, "address")};
        if (u.user.n && u.address.n) out->users[out->user_count++] = u;
    }
    yyjson_arr_foreach(remote, i, n, one) {
        if (!yyjson_is_str(one)) continue;
        struct slice address = slice_make(yyjson_get_str(one), yyjson_get_len(one));
        out->remotes[out->remote_count++] = slice_make(arena_copy(arena, address), address.n);
    }
}

const char *resolve_reply_read(struct arena *arena, struct slice text, struct resolve_reply *out) {
    yyjson_val *o;
    yyjson_doc *doc = json_take(text, &o);
    struct slice kind = json_take_text(o, "kind");
    bool known = true;
    *out = (struct resolve_reply){.kind = RESOLVE_UNKNOWN};
    if (slice_is(kind, "local")) {
        out->kind = RESOLVE_LOCAL;
        read_local(arena, o, out);
    } else if (slice_is(kind, "remote")) {
        out->kind = RESOLVE_REMOTE;
    } else {
        known = slice_is(kind, "unknown");
    }
    yyjson_doc_free(doc);
    return known ? NULL : "the answer has no kind";
}
