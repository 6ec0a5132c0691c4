#include "libcommon/codec/events.h"

static void put_if_any(struct json_put *j, const char *name, struct slice text) {
    if (text.n) json_put_text(j, name, text);
}

static void put_client(struct json_put *j, const struct mail_event_client *c) {
    json_put_object(j, "client");
    json_put_text(j, "ip", c->ip);
    json_put_integer(j, "port", c->port);
    json_put_text(j, "helo", c->helo);
    json_put_text(j, "protocol", c->protocol);
    put_if_any(j, "tls", c->tls);
    put_if_any(j, "cipher", c->cipher);
    put_if_any(j, "login", c->login);
    json_put_end(j, '}');
}

static void put_rcpts(struct json_put *j, size_t count, const struct mail_event_rcpt rcpts[]) {
    json_put_array(j, "rcpts");
    for (size_t i = 0; i < count; i++) {
        json_put_object(j, NULL);
        json_put_text(j, "address", rcpts[i].address);
        if (rcpts[i].user.p) json_put_text(j, "user", rcpts[i].user);
        if (rcpts[i].from.p) json_put_text(j, "from", rcpts[i].from);
        if (rcpts[i].folder.p) {
            json_put_text(j, "folder", rcpts[i].folder);
            json_put_integer(j, "uid", rcpts[i].uid);
            json_put_integer(j, "modseq", rcpts[i].modseq);
        }
        json_put_end(j, '}');
    }
    json_put_end(j, ']');
}

bool mail_accepted_write(const struct mail_accepted *e, struct buf *out) {
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_bool(&j, "queued", e->queued);
    if (e->shard >= 0) json_put_integer(&j, "shard", e->shard);
    json_put_text(&j, "from", e->from);
    put_rcpts(&j, e->rcpt_count, e->rcpts);
    json_put_integer(&j, "size", (int64_t)e->size);
    json_put_text(&j, "message_id", e->message_id);
    json_put_text(&j, "origin", e->origin);
    if (e->client)
        put_client(&j, e->client);
    else
        json_put_null(&j, "client");
    if (e->verdict.n) json_put_raw(&j, "verdict", e->verdict);
    put_if_any(&j, "reply", e->reply);
    put_if_any(&j, "sealed", e->sealed);
    json_put_end(&j, '}');
    return !j.failed;
}

bool mail_refused_write(const struct mail_refused *e, struct buf *out) {
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_text(&j, "from", e->from);
    put_rcpts(&j, e->rcpt_count, e->rcpts);
    if (e->client)
        put_client(&j, e->client);
    else
        json_put_null(&j, "client");
    json_put_integer(&j, "code", e->code);
    json_put_text(&j, "enhanced", e->enhanced);
    json_put_foreign(&j, "reason", e->reason);
    if (e->verdict.n) json_put_raw(&j, "verdict", e->verdict);
    json_put_end(&j, '}');
    return !j.failed;
}

bool mail_sent_write(const struct mail_sent *e, struct buf *out) {
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_text(&j, "rcpt", e->rcpt);
    if (e->from.p) json_put_text(&j, "from", e->from);
    json_put_text(&j, "domain", e->domain);
    json_put_foreign(&j, "host", e->host);
    json_put_text(&j, "ip", e->ip);
    json_put_integer(&j, "port", e->port);
    json_put_text(&j, "tls", e->tls);
    json_put_text(&j, "cipher", e->cipher);
    json_put_text(&j, "tls_verified", e->tls_verified);
    json_put_integer(&j, "code", e->code);
    json_put_text(&j, "enhanced", e->enhanced);
    json_put_foreign(&j, "reply", e->reply);
    json_put_end(&j, '}');
    return !j.failed;
}

bool mail_delivered_write(const struct mail_delivered *e, struct buf *out) {
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_text(&j, "rcpt", e->rcpt);
    json_put_text(&j, "user", e->user);
    json_put_text(&j, "folder", e->folder);
    json_put_integer(&j, "uid", e->uid);
    json_put_integer(&j, "modseq", e->modseq);
    json_put_end(&j, '}');
    return !j.failed;
}

bool mailbox_changed_write(const struct mailbox_changed *e, struct buf *out) {
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_text(&j, "user", e->user);
    json_put_integer(&j, "folder", e->folder);
    json_put_integer(&j, "modseq", e->modseq);
    json_put_text(&j, "kind", e->kind);
    json_put_end(&j, '}');
    return !j.failed;
}

const char *mailbox_changed_read(struct arena *arena, struct slice event, struct mailbox_changed *out) {
    yyjson_val *o;
    yyjson_doc *doc = json_take(event, &o);
    yyjson_val *data = yyjson_obj_get(o, "data");
    bool there = yyjson_is_obj(data);
    *out = (struct mailbox_changed){.user = json_take_copy(arena, data, "user"),
                                    .kind = json_take_copy(arena, data, "kind"),
                                    .folder = json_take_integer(data, "folder", 0),
                                    .modseq = json_take_integer(data, "modseq", 0)};
    yyjson_doc_free(doc);
    return there ? NULL : "the event has no data";
}

int64_t mailbox_changed_folder(struct slice event, uint64_t *modseq) {
    yyjson_val *o;
    yyjson_doc *doc = json_take(event, &o);
    int64_t folder = json_take_integer(yyjson_obj_get(o, "data"), "folder", 0);
    int64_t at = json_take_integer(yyjson_obj_get(o, "data"), "modseq", 0);
    yyjson_doc_free(doc);
    *modseq = at > 0 ? (uint64_t)at : 0;
    return folder;
}
