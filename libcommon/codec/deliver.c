#include "libcommon/codec/deliver.h"

/* Of a message and of a recipient, without their texts; a text may grow sixfold (\u00XX). */
enum { MESSAGE_BYTES = 256, RCPT_BYTES = 24, ESCAPED = 6 };

size_t deliver_ask_bytes(const struct deliver_ask_message *m) {
    size_t n = MESSAGE_BYTES + m->listing.n / 3 * 4 + 4 + m->id.n + m->attempt.n +
               ESCAPED * (m->from.n + m->folder.n + m->prefix.n);
    for (size_t i = 0; i < m->count; i++) n += RCPT_BYTES + ESCAPED * m->rcpts[i].rcpt.n + m->rcpts[i].user.n;
    return n;
}

struct json_put deliver_ask_open(struct buf *out) {
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_array(&j, "messages");
    return j;
}

bool deliver_ask_add(struct json_put *j, const struct deliver_ask_message *m) {
    size_t before = j->out->n;
    bool failed = j->failed;
    j->failed = false;
    json_put_object(j, NULL);
    json_put_text(j, "id", m->id);
    json_put_text(j, "from", m->from);
    json_put_text(j, "folder", m->folder);
    json_put_integer(j, "size", (int64_t)m->size);
    json_put_integer(j, "date", m->date);
    json_put_text(j, "attempt", m->attempt);
    json_put_bool(j, "held", m->held);
    if (m->prefix.n) json_put_text(j, "prefix", m->prefix);
    if (m->held && m->listing.n) json_put_base64(j, "listing_b64", m->listing);
    json_put_array(j, "rcpts");
    for (size_t i = 0; i < m->count; i++) {
        json_put_object(j, NULL);
        json_put_text(j, "rcpt", m->rcpts[i].rcpt);
        json_put_text(j, "user", m->rcpts[i].user);
        json_put_end(j, '}');
    }
    json_put_end(j, ']');
    json_put_end(j, '}');
    bool added = !j->failed;
    j->failed = failed;
    if (!added) {
        j->out->n = before;
        j->out->data[before] = '\0';
    }
    return added;
}

void deliver_ask_close(struct json_put *j) {
    json_put_end(j, ']');
    json_put_end(j, '}');
}

static void read_rcpts(struct arena *arena, yyjson_val *list, struct deliver_reply_message *out) {
    size_t i, n;
    yyjson_val *one;
    out->rcpts = arena_alloc(arena, (yyjson_arr_size(list) + 1) * sizeof *out->rcpts);
    yyjson_arr_foreach(list, i, n, one) out->rcpts[out->count++] =
        (struct deliver_outcome){.result = json_take_copy(arena, one, "result"),
                                 .message = json_take_copy(arena, one, "message"),
                                 .folder = json_take_copy(arena, one, "folder"),
                                 .uid = json_take_integer(one, "uid", 0),
                                 .modseq = json_take_integer(one, "modseq", 0),
                                 .duplicate = json_take_true(one, "duplicate")};
}

const char *deliver_reply_read(struct arena *arena, struct slice text, struct deliver_reply *out) {
    yyjson_val *o, *one;
    yyjson_doc *doc = json_take(text, &o);
    yyjson_val *list = yyjson_obj_get(o, "messages");
    size_t i, n;
    *out = (struct deliver_reply){.count = 0};
    bool there = yyjson_is_arr(list);
    out->messages = arena_alloc(arena, (yyjson_arr_size(list) + 1) * sizeof *out->messages);
    yyjson_arr_foreach(list, i, n, one) {
        struct deliver_reply_message *m = &out->messages[out->count++];
        m->id = json_take_copy(arena, one, "id");
        read_rcpts(arena, yyjson_obj_get(one, "rcpts"), m);
    }
    yyjson_doc_free(doc);
    return there ? NULL : "the answer has no messages";
}
