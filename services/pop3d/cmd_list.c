/* STAT, LIST, UIDL, DELE, RSET (RFC 1939 §5, §7). */
#include "services/pop3d/pop3d.h"

struct drop *drop_named(struct session *s, struct slice word) {
    uint32_t number;
    if (pop3_number(word, &number) != 0) {
        session_err(s, "a message number is required");
        return NULL;
    }
    if (number == 0 || number > s->count || s->drops[number - 1].deleted) {
        session_err(s, "no such message");
        return NULL;
    }
    return &s->drops[number - 1];
}

static size_t left(const struct session *s, uint64_t *bytes) {
    size_t count = 0;
    *bytes = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (s->drops[i].deleted) continue;
        count++;
        *bytes += s->drops[i].size;
    }
    return count;
}

void cmd_stat(struct session *s) {
    uint64_t bytes;
    size_t count = left(s, &bytes);
    session_ok(s, "%zu %llu", count, (unsigned long long)bytes);
}

static void write_listing(struct session *s, bool uids) {
    struct buf out = {0};
    for (size_t i = 0; i < s->count; i++) {
        const struct drop *d = &s->drops[i];
        if (d->deleted) continue;
        if (uids)
            buf_printf(&out, "%zu %u.%u\r\n", i + 1, s->uidvalidity, d->uid);
        else
            buf_printf(&out, "%zu %u\r\n", i + 1, d->size);
    }
    buf_add_str(&out, ".\r\n");
    stream_write(s->stream, buf_slice(&out));
    buf_free(&out);
}

void cmd_list(struct session *s, const struct pop3_command *c) {
    uint64_t bytes;
    if (c->count) {
        const struct drop *d = drop_named(s, c->word[0]);
        if (d) session_ok(s, "%zu %u", (size_t)(d - s->drops) + 1, d->size);
        return;
    }
    size_t count = left(s, &bytes);
    session_ok(s, "%zu messages (%llu octets)", count, (unsigned long long)bytes);
    write_listing(s, false);
}

void cmd_uidl(struct session *s, const struct pop3_command *c) {
    if (c->count) {
        const struct drop *d = drop_named(s, c->word[0]);
        if (d) session_ok(s, "%zu %u.%u", (size_t)(d - s->drops) + 1, s->uidvalidity, d->uid);
        return;
    }
    session_ok(s, "unique-id listing follows");
    write_listing(s, true);
}

void cmd_dele(struct session *s, const struct pop3_command *c) {
    struct drop *d = drop_named(s, c->word[0]);
    if (!d) return;
    d->deleted = true;
    session_ok(s, "message %zu marked for deletion", (size_t)(d - s->drops) + 1);
}

void cmd_rset(struct session *s) {
    uint64_t bytes;
    for (size_t i = 0; i < s->count; i++) s->drops[i].deleted = false;
    size_t count = left(s, &bytes);
    session_ok(s, "%zu messages (%llu octets)", count, (unsigned long long)bytes);
}
