#include "libcommon/mail/header.h"
#include "services/imapd/limits.h"
#include "services/imapd/order/base_subject.h"
#include "services/imapd/order/casemap.h"
#include "services/imapd/sort/thread.h"

/* Reads "left@right>" after "<": quotes are removed, so that <"a"@b> and <a@b> are one id. */
static bool take_id(struct slice value, size_t *at, char *out, size_t *n) {
    bool quoted = false, has_at = false;
    *n = 0;
    for (; *at < value.n; (*at)++) {
        char c = value.p[*at];
        if (c == '"') {
            quoted = !quoted;
        } else if (quoted) {
            if (c == '\\' && *at + 1 < value.n) c = value.p[++*at];
            if (c != '\r' && c != '\n') out[(*n)++] = c;
        } else if (c == '>') {
            ++*at;
            return has_at && *n > 2;
        } else if (c == '<') {
            return false; /* an id that does not end: the next one begins here */
        } else if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            has_at = has_at || c == '@';
            out[(*n)++] = c;
        }
    }
    return false;
}

bool thread_next_id(struct arena *arena, struct slice value, size_t *at, struct slice *id) {
    char *room = NULL;
    while (*at < value.n) {
        ptrdiff_t open = slice_find(slice_skip(value, *at), '<');
        size_t n;
        if (open < 0) break;
        *at += (size_t)open + 1;
        if (!room) room = arena_alloc(arena, value.n - *at + 1);
        if (!take_id(value, at, room, &n)) continue;
        *id = slice_make(room, n);
        return true;
    }
    *at = value.n;
    return false;
}

/* The last LIMIT_THREAD_REFERENCES of the ids in References, or the first one in In-Reply-To. */
static void read_references(struct arena *arena, struct slice header, struct thread_message *m) {
    struct header_field f;
    struct slice id;
    size_t at = 0, count = 0;
    struct arena *work = arena_create();
    if (header_find(header, "References", &f)) {
        while (thread_next_id(work, f.value, &at, &id)) count++;
        size_t skip = count > LIMIT_THREAD_REFERENCES ? count - LIMIT_THREAD_REFERENCES : 0;
        m->references = arena_alloc(arena, (count - skip + 1) * sizeof *m->references);
        at = 0;
        for (size_t i = 0; i < count && thread_next_id(work, f.value, &at, &id); i++)
            if (i >= skip) m->references[m->reference_count++] = arena_slice(arena, id);
    }
    at = 0;
    if (!count && header_find(header, "In-Reply-To", &f) && thread_next_id(work, f.value, &at, &id)) {
        m->references = arena_alloc(arena, sizeof *m->references);
        m->references[m->reference_count++] = arena_slice(arena, id);
    }
    arena_destroy(work);
}

void thread_read_message(struct arena *arena, struct slice header, struct thread_message *m) {
    struct header_field f;
    struct buf subject = {0}, mapped = {0};
    size_t at = 0;
    if (header_find(header, "Subject", &f)) m->reply = base_subject(f.value, &subject);
    unicode_casemap(slice_head(buf_slice(&subject), LIMIT_SORT_TEXT), &mapped);
    m->subject = arena_slice(arena, buf_slice(&mapped));
    if (header_find(header, "Message-ID", &f)) thread_next_id(arena, f.value, &at, &m->id);
    read_references(arena, header, m);
    buf_free(&subject);
    buf_free(&mapped);
}
