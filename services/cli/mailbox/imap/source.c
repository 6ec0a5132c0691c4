#include "services/cli/mailbox/imap/source.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "services/cli/mailbox/imap/command.h"

/* What a FETCH command tells to. */
struct fetching {
    struct source *s;
    source_message_fn *message; /* of a scan */
    source_body_fn *body;       /* of messages */
    void *ctx;
    size_t count;
    bool stopped;
};

static void identity_of(const struct imap_answer *a, unsigned char out[SOURCE_IDENTITY_BYTES]) {
    static const char kind[] = "imap";
    char numbers[64];
    crypto_hash_sha256_state hash;
    int n = snprintf(numbers, sizeof numbers, "%llu %lld", (unsigned long long)a->size, (long long)a->date);
    crypto_hash_sha256_init(&hash);
    crypto_hash_sha256_update(&hash, (const unsigned char *)kind, sizeof kind);
    crypto_hash_sha256_update(&hash, (const unsigned char *)numbers, (size_t)n + 1);
    crypto_hash_sha256_update(&hash, (const unsigned char *)a->section.p, a->section.n);
    crypto_hash_sha256_final(&hash, out);
}

static bool on_fetched(void *ctx, const struct imap_answer *a, bool cut) {
    struct fetching *f = ctx;
    if (a->kind != IMAP_FETCH || !a->uid || !a->has_section) return true; /* a change of flags, told unasked */
    if (++f->count > SOURCE_MESSAGES_MAX) return false;
    if (f->body) {
        f->stopped = !f->body(f->ctx, a->uid, a->section, cut);
    } else {
        struct source_message m = {.uid = a->uid, .size = a->size, .date = a->date, .flags = a->flags};
        identity_of(a, m.identity);
        f->stopped = !f->message(f->ctx, &m);
    }
    return !f->stopped;
}

static enum source_result fetch(struct source *s, struct slice set, const char *items, struct fetching *f) {
    struct buf command = {0};
    buf_printf(&command, "UID FETCH %.*s (%s)", SLICE_FMT(set), items);
    enum source_result result = command_run(s, buf_slice(&command), on_fetched, f);
    buf_free(&command);
    return result == SOURCE_LOST && f->stopped ? SOURCE_STOPPED : result;
}

enum source_result source_scan(struct source *s, source_message_fn *tell, void *ctx) {
    struct fetching f = {.s = s, .message = tell, .ctx = ctx};
    return fetch(s, SLICE("1:*"),
                 "UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)]", &f);
}

enum source_result source_fetch(struct source *s, struct slice set, source_body_fn *tell, void *ctx) {
    struct fetching f = {.s = s, .body = tell, .ctx = ctx};
    return fetch(s, set, "UID BODY.PEEK[]", &f);
}

/* EXAMINE */

struct examining {
    uint32_t uidvalidity, messages;
};

static bool on_examined(void *ctx, const struct imap_answer *a, bool cut) {
    struct examining *e = ctx;
    struct slice code = a->code, word;
    uint64_t value;
    (void)cut;
    if (a->kind == IMAP_EXISTS) e->messages = a->number;
    if (a->kind == IMAP_STATUS && slice_cut(&code, ' ', &word) && slice_is_nocase(word, "UIDVALIDITY") &&
        slice_to_u64(code, UINT32_MAX, &value) == 0)
        e->uidvalidity = (uint32_t)value;
    return true;
}

enum source_result source_examine(struct source *s, const char *name, uint32_t *uidvalidity, uint32_t *messages) {
    struct buf command = {0};
    struct examining e = {0};
    buf_add_str(&command, "EXAMINE ");
    enum source_result result = SOURCE_NO;
    if (command_add_string(s, slice_of(name), &command)) result = command_run(s, buf_slice(&command), on_examined, &e);
    *uidvalidity = e.uidvalidity;
    *messages = e.messages;
    buf_free(&command);
    return result;
}
