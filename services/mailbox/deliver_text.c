/* The JSON of mailbox.deliver. Pure. */
#include "libcommon/base/clock.h"
#include "libcommon/base/json.h"
#include "services/mailbox/deliver.h"

static void fail(struct deliver_rcpt *r, int error, const char *message) {
    r->error = error;
    r->message = message;
}

/* Whether a text can stand between other header fields: it is empty, or ends with CRLF and has no
 * empty line, which would end the header. */
static bool is_prefix(struct slice text) {
    if (!text.n) return true;
    return text.n <= DELIVER_PREFIX_MAX && *text.p > ' ' && slice_equal(slice_skip(text, text.n - 2), SLICE("\r\n")) &&
           !memmem(text.p, text.n, "\r\n\r\n", 4);
}

static const char *fault_of_message(const struct deliver_message *d) {
    if (!ulid_is_valid(d->id)) return "the id is no message id";
    if (!mailbox_attempt_is_valid(d->attempt)) return "the attempt's name must be 1 to 40 letters and digits";
    if (d->from.n && !mailbox_rcpt_is_valid(d->from)) return "the reverse-path is no address";
    if (!is_prefix(d->prefix)) return "the prefix must be header fields of at most 16 KB, each with CRLF";
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
        r->rcpt = json_take_copy(arena, one, "rcpt");
        r->user = json_take_copy(arena, one, "user");
        if (fault)
            fail(r, STORE_INVALID, fault);
        else if (!mailbox_rcpt_is_valid(r->rcpt))
            fail(r, STORE_INVALID, "the recipient is no address");
        else if (!ulid_is_valid(r->user))
            fail(r, STORE_NOT_FOUND, "there is no such user");
    }
}

/* A damaged listing is ignored; it is then computed from the body. */
static struct slice read_listing(struct arena *arena, yyjson_val *message) {
    struct slice listing;
    bool usable = json_take_base64(arena, message, "listing_b64", &listing) == 0 && mailbox_listing_is_valid(listing);
    return usable ? listing : SLICE("");
}

static const char *read_messages(struct deliver_request *r, yyjson_val *list) {
    size_t i, n;
    yyjson_val *one;
    r->count = yyjson_arr_size(list);
    if (r->count == 0 || r->count > DELIVER_MESSAGES_MAX) return "messages must be a list of 1 to 64";
    r->messages = arena_alloc(r->arena, r->count * sizeof *r->messages);
    yyjson_arr_foreach(list, i, n, one) {
        struct deliver_message *d = &r->messages[i];
        int64_t size = json_take_integer(one, "size", 0), date = json_take_integer(one, "date", 0);
        yyjson_val *rcpts = yyjson_obj_get(one, "rcpts");
        r->rcpt_count += yyjson_arr_size(rcpts);
        if (yyjson_arr_size(rcpts) == 0) return "a message has no recipients";
        if (r->rcpt_count > DELIVER_RCPTS_MAX) return "a request has at most 1,000 recipients";
        d->request = r;
        d->id = json_take_copy(r->arena, one, "id");
        d->from = json_take_copy(r->arena, one, "from");
        d->folder = json_take_copy(r->arena, one, "folder");
        d->attempt = json_take_copy(r->arena, one, "attempt");
        d->prefix = json_take_copy(r->arena, one, "prefix");
        d->size = size > 0 ? (uint64_t)size : 0;
        d->date = date > 0 ? date : clock_wall_ms() / 1000;
        d->held = json_take_true(one, "held");
        if (d->held) d->listing = read_listing(r->arena, one);
        read_rcpts(d, r->arena, rcpts);
    }
    return NULL;
}

const char *deliver_read(struct deliver_request *r, struct slice text) {
    if (text.n > DELIVER_BYTES_MAX) return "a request has at most 700 KB";
    yyjson_val *root;
    yyjson_doc *doc = json_take(text, &root);
    if (!doc) return "the request is not a JSON object";
    const char *fault = read_messages(r, yyjson_obj_get(root, "messages"));
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

static void write_rcpt(struct json_put *j, const struct deliver_rcpt *r) {
    json_put_object(j, NULL);
    json_put_word(j, "result", deliver_result(r->error));
    if (r->error) {
        json_put_word(j, "message", explain(r));
    } else {
        json_put_text(j, "folder", r->folder);
        json_put_integer(j, "uid", (int64_t)r->uid);
        json_put_integer(j, "modseq", (int64_t)r->modseq);
        json_put_bool(j, "duplicate", r->duplicate);
    }
    json_put_end(j, '}');
}

void deliver_write(const struct deliver_request *r, struct buf *out) {
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_array(&j, "messages");
    for (size_t i = 0; i < r->count; i++) {
        const struct deliver_message *d = &r->messages[i];
        json_put_object(&j, NULL);
        json_put_text(&j, "id", d->id);
        json_put_array(&j, "rcpts");
        for (size_t n = 0; n < d->count; n++) write_rcpt(&j, &d->rcpts[n]);
        json_put_end(&j, ']');
        json_put_end(&j, '}');
    }
    json_put_end(&j, ']');
    json_put_end(&j, '}');
}
