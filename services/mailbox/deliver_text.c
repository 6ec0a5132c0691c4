/* The JSON of mailbox.deliver. Pure. */
#include <yyjson.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "services/mailbox/deliver.h"

static struct slice text_of(struct arena *arena, yyjson_val *object, const char *name) {
    yyjson_val *value = yyjson_obj_get(object, name);
    return yyjson_is_str(value) ? arena_slice(arena, slice_make(yyjson_get_str(value), yyjson_get_len(value)))
                                : SLICE("");
}

static uint64_t number_of(yyjson_val *object, const char *name) {
    yyjson_val *value = yyjson_obj_get(object, name);
    return yyjson_is_uint(value) ? yyjson_get_uint(value) : 0;
}

static void fail(struct deliver_rcpt *r, int error, const char *message) {
    r->error = error;
    r->message = message;
}

static const char *fault_of_message(const struct deliver_message *d) {
    if (!ulid_is_valid(d->id)) return "the id is no message id";
    if (!mailbox_attempt_is_valid(d->attempt)) return "the attempt's name must be 1 to 40 letters and digits";
    if (d->from.n && !mailbox_rcpt_is_valid(d->from)) return "the reverse-path is no address";
    return NULL;
}

static void read_rcpts(struct deliver_message *d, struct arena *arena, yyjson_val *list) {
    const char *fault = fault_of_message(d);
    size_t i, n;
    yyjson_val *one;
    d->count = yyjson_arr_size(list);
    d->rcpts = arena_alloc(arena, (d->count + 1) * sizeof *d->rcpts);
    yyjson_arr_foreach(list, i, n, one) {
        struct deliver_rcpt *r = &d->rcpts[i];
        r->rcpt = text_of(arena, one, "rcpt");
        r->user = text_of(arena, one, "user");
        if (fault)
            fail(r, STORE_INVALID, fault);
        else if (!mailbox_rcpt_is_valid(r->rcpt))
            fail(r, STORE_INVALID, "the recipient is no address");
        else if (!ulid_is_valid(r->user))
            fail(r, STORE_NOT_FOUND, "there is no such user");
    }
}

/* A listing that is damaged counts as none: it is worked out from the body then. */
static struct slice read_listing(struct arena *arena, yyjson_val *message) {
    yyjson_val *value = yyjson_obj_get(message, "listing_b64");
    struct slice listing = SLICE("");
    struct buf bytes = {0};
    if (yyjson_is_str(value) &&
        base64_decode(slice_make(yyjson_get_str(value), yyjson_get_len(value)), false, &bytes) == 0 &&
        mailbox_listing_is_valid(buf_slice(&bytes)))
        listing = arena_slice(arena, buf_slice(&bytes));
    buf_free(&bytes);
    return listing;
}

static const char *read_messages(struct deliver_request *r, yyjson_val *list) {
    size_t i, n;
    yyjson_val *one;
    r->count = yyjson_arr_size(list);
    if (r->count == 0 || r->count > DELIVER_MESSAGES_MAX) return "messages must be a list of 1 to 64";
    r->messages = arena_alloc(r->arena, r->count * sizeof *r->messages);
    yyjson_arr_foreach(list, i, n, one) {
        struct deliver_message *d = &r->messages[i];
        uint64_t date = number_of(one, "date");
        yyjson_val *rcpts = yyjson_obj_get(one, "rcpts");
        r->rcpt_count += yyjson_arr_size(rcpts);
        if (yyjson_arr_size(rcpts) == 0) return "a message has no recipients";
        if (r->rcpt_count > DELIVER_RCPTS_MAX) return "a request has at most 1,000 recipients";
        d->request = r;
        d->id = text_of(r->arena, one, "id");
        d->from = text_of(r->arena, one, "from");
        d->folder = text_of(r->arena, one, "folder");
        d->attempt = text_of(r->arena, one, "attempt");
        d->size = number_of(one, "size");
        d->date = date && date <= INT64_MAX ? (int64_t)date : clock_wall_ms() / 1000;
        d->held = yyjson_is_true(yyjson_obj_get(one, "held"));
        if (d->held) d->listing = read_listing(r->arena, one);
        read_rcpts(d, r->arena, rcpts);
    }
    return NULL;
}

const char *deliver_read(struct deliver_request *r, struct slice text) {
    if (text.n > DELIVER_BYTES_MAX) return "a request has at most 700 KB";
    yyjson_doc *doc = yyjson_read(text.p, text.n, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *fault =
        yyjson_is_obj(root) ? read_messages(r, yyjson_obj_get(root, "messages")) : "the request is not a JSON object";
    yyjson_doc_free(doc);
    return fault;
}

const char *deliver_result(int error) {
    switch (error) {
    case 0: return "delivered";
    case STORE_OVER_QUOTA: return "over_quota";
    case STORE_NOT_FOUND: return "not_found";
    case STORE_FULL: return "full";
    case STORE_INVALID: return "invalid";
    default: return "unavailable";
    }
}

static const char *explain(const struct deliver_rcpt *r) {
    if (r->message) return r->message;
    switch (r->error) {
    case STORE_OVER_QUOTA: return "the mailbox is full";
    case STORE_NOT_FOUND: return "the account was deleted";
    case STORE_FULL: return "the store has no room";
    case STORE_INVALID: return "the store refuses these arguments";
    default: return "the store is not available";
    }
}

static yyjson_mut_val *write_rcpt(yyjson_mut_doc *doc, const struct deliver_rcpt *r) {
    yyjson_mut_val *one = yyjson_mut_obj(doc);
    yyjson_mut_obj_add_str(doc, one, "result", deliver_result(r->error));
    if (r->error) {
        yyjson_mut_obj_add_str(doc, one, "message", explain(r));
        return one;
    }
    yyjson_mut_obj_add_strn(doc, one, "folder", r->folder.p, r->folder.n);
    yyjson_mut_obj_add_uint(doc, one, "uid", r->uid);
    yyjson_mut_obj_add_uint(doc, one, "modseq", r->modseq);
    yyjson_mut_obj_add_bool(doc, one, "duplicate", r->duplicate);
    return one;
}

void deliver_write(const struct deliver_request *r, struct buf *out) {
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    if (!doc) memory_exhausted();
    yyjson_mut_val *root = yyjson_mut_obj(doc), *messages = yyjson_mut_arr(doc);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_val(doc, root, "messages", messages);
    for (size_t i = 0; i < r->count; i++) {
        const struct deliver_message *d = &r->messages[i];
        yyjson_mut_val *one = yyjson_mut_arr_add_obj(doc, messages), *rcpts = yyjson_mut_arr(doc);
        yyjson_mut_obj_add_strn(doc, one, "id", d->id.p, d->id.n);
        yyjson_mut_obj_add_val(doc, one, "rcpts", rcpts);
        for (size_t j = 0; j < d->count; j++) yyjson_mut_arr_append(rcpts, write_rcpt(doc, &d->rcpts[j]));
    }
    size_t n;
    char *text = yyjson_mut_write(doc, 0, &n);
    if (!text) memory_exhausted();
    buf_add(out, text, n);
    free(text);
    yyjson_mut_doc_free(doc);
}
