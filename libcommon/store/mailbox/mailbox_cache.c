/* What is computed of a message once and kept: the columns. */
#include "libcommon/mail/header.h"
#include "libcommon/mail/preview.h"
#include "libcommon/mail/structure.h"
#include "libcommon/store/mailbox/mailbox_private.h"

/* The fields that mail clients show in lists; Return-Path and Delivered-To are not cached, because
 * they are in the prefix. */
static const char *const cached_fields[] = {
    "From",
    "To",
    "Cc",
    "Bcc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Reply-To",
    "Sender",
    "Newsgroups",
    "Priority",
    "X-Priority",
    "Importance",
    "Content-Type",
    "List-Id",
    "List-Post",
    "Precedence",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "X-Mailer",
    "Disposition-Notification-To",
};

const char mailbox_column_letters[MAILBOX_COLUMNS] = {'e', 's', 'h', 'k', 'w'};
/* The mark of a preview that was computed, which may be empty. */
enum { LETTER_AND_LENGTH = 5, PREVIEW_MARK = 1 };

bool mailbox_header_is_cached(struct slice field_name) {
    for (size_t i = 0; i < sizeof cached_fields / sizeof *cached_fields; i++)
        if (slice_is_nocase(field_name, cached_fields[i])) return true;
    return false;
}

struct slice *mailbox_cached_text(struct mailbox_cached *out, size_t i) {
    struct slice *const texts[MAILBOX_COLUMNS] = {&out->envelope, &out->bodystructure, &out->header, &out->keys,
                                                  &out->preview};
    return texts[i];
}

static void write_column(size_t i, struct slice header, const struct mime *m, size_t max, struct buf *out) {
    struct header_field field;
    size_t at = 0;
    switch ((enum mailbox_column)(1 << i)) {
    case MAILBOX_ENVELOPE: structure_envelope(header, out); return;
    case MAILBOX_STRUCTURE: structure_body(m, true, out); return;
    case MAILBOX_HEADER:
        while (out->n <= max && header_next(header, &at, &field) == 1)
            if (mailbox_header_is_cached(field.name)) buf_add_slice(out, field.raw);
        return;
    case MAILBOX_KEYS: mailbox_keys_build(header, out); return;
    case MAILBOX_PREVIEW:
        buf_add_char(out, PREVIEW_MARK);
        preview_build(m, out);
        return;
    }
}

void mailbox_column_build(size_t i, struct slice message, size_t max, struct buf *out) {
    struct arena *arena = arena_create();
    size_t body_at;
    struct slice header = header_block(message, &body_at);
    write_column(i, header, mime_parse(arena, message), max, out);
    arena_destroy(arena);
}

void mailbox_listing_build(struct slice message, struct buf *out) {
    struct arena *arena = arena_create();
    struct buf text = {0};
    size_t body_at;
    struct slice header = header_block(message, &body_at);
    const struct mime *m = mime_parse(arena, message);
    for (size_t i = 0; i < MAILBOX_COLUMNS; i++) {
        write_column(i, header, m, MAILBOX_CACHED_MAX, &text);
        if (text.n > MAILBOX_CACHED_MAX) text.n = 0;
        uint32_t n = (uint32_t)text.n;
        const char head[LETTER_AND_LENGTH] = {mailbox_column_letters[i], (char)(n & 0xff), (char)(n >> 8 & 0xff),
                                              (char)(n >> 16 & 0xff), (char)(n >> 24)};
        buf_add(out, head, sizeof head);
        buf_add_slice(out, buf_slice(&text));
        buf_reset(&text);
    }
    buf_free(&text);
    arena_destroy(arena);
}

bool mailbox_listing_is_valid(struct slice listing) {
    for (size_t i = 0; i < MAILBOX_COLUMNS; i++) {
        if (listing.n < LETTER_AND_LENGTH || listing.p[0] != mailbox_column_letters[i]) return false;
        uint32_t n = mailbox_u32(listing.p + 1);
        listing = slice_skip(listing, LETTER_AND_LENGTH);
        struct mailbox_keys keys;
        if (n > MAILBOX_CACHED_MAX || n > listing.n) return false;
        if (i == 3 && n && !mailbox_keys_read(slice_head(listing, n), &keys)) return false; /* a Function reads it */
        listing = slice_skip(listing, n);
    }
    return listing.n == 0;
}
