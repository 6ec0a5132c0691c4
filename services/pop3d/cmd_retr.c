/* RETR and TOP: the bytes exactly as stored (RFC 1939 §5, §7). */
#include "services/pop3d/pop3d.h"

static struct metric fetched = METRIC_COUNTER("postbus_pop3d_fetched_total", "Messages sent completely to clients");

static void say_fetched(struct session *s, struct drop *d) {
    if (d->fetched) return;
    d->fetched = true;
    json_t *data = json_pack("{s:s, s:I, s:{s:s}, s:s, s:s, s:I}", "user", s->user, "uid", (json_int_t)d->uid, "client",
                             "ip", stream_peer(s->stream), "protocol", "pop3", "tls", stream_tls_version(s->stream),
                             "size", (json_int_t)d->size);
    bus_publish(s->pop3d->worker->bus, "mail.fetched", slice_of(d->blob), data);
}

static void on_read(void *ctx, int error, struct slice message) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    if (error) {
        session_store_err(s, error);
    } else {
        struct buf out = {0};
        session_ok(s, "%zu octets", message.n);
        pop3_stuff(message, s->is_top ? s->top_lines : SIZE_MAX, &out);
        stream_write(s->stream, buf_slice(&out));
        buf_free(&out);
        if (!s->is_top) {
            metric_add(&fetched, 1);
            say_fetched(s, &s->drops[s->current]);
        }
    }
}

static void read_message(struct session *s, const struct drop *d) {
    s->current = (uint32_t)(d - s->drops);
    session_wait(s);
    mailbox_read(s->pop3d->worker->redis, slice_of(s->user), s->folder_id, d->uid, on_read, s);
}

void cmd_retr(struct session *s, const struct pop3_command *c) {
    const struct drop *d = drop_named(s, c->word[0]);
    if (!d) return;
    s->is_top = false;
    read_message(s, d);
}

void cmd_top(struct session *s, const struct pop3_command *c) {
    uint32_t lines;
    const struct drop *d = drop_named(s, c->word[0]);
    if (!d) return;
    if (c->count != 2 || pop3_number(c->word[1], &lines) != 0) {
        session_err(s, "TOP requires a message number and a number of lines");
        return;
    }
    s->is_top = true;
    s->top_lines = lines;
    read_message(s, d);
}
