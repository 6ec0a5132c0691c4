#include "libcommon/mail/header.h"
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
enum { TEXTS = 4, ABSENT = -1 };

bool mailbox_header_is_cached(struct slice field_name) {
    for (size_t i = 0; i < sizeof cached_fields / sizeof *cached_fields; i++)
        if (slice_is_nocase(field_name, cached_fields[i])) return true;
    return false;
}

static void add_u32(struct buf *out, uint32_t v) {
    char bytes[4] = {(char)(v & 0xff), (char)(v >> 8 & 0xff), (char)(v >> 16 & 0xff), (char)(v >> 24)};
    buf_add(out, bytes, sizeof bytes);
}

static void add_text(struct buf *out, struct buf *text) {
    bool keep = text->n <= MAILBOX_CACHED_MAX;
    add_u32(out, keep ? (uint32_t)text->n : (uint32_t)ABSENT);
    if (keep) buf_add_slice(out, buf_slice(text));
    buf_reset(text);
}

static void write_text(int which, struct slice header, const struct mime *m, size_t max, struct buf *out) {
    struct header_field field;
    size_t at = 0;
    switch (which) {
    case 0: structure_envelope(header, out); return;
    case 1: structure_body(m, false, out); return;
    case 2: structure_body(m, true, out); return;
    default:
        while (out->n <= max && header_next(header, &at, &field) == 1)
            if (mailbox_header_is_cached(field.name)) buf_add_slice(out, field.raw);
    }
}

void mailbox_listing_build(struct slice message, struct buf *out) {
    struct arena *arena = arena_create();
    struct buf text = {0};
    size_t body_at;
    struct slice header = header_block(message, &body_at);
    const struct mime *m = mime_parse(arena, message);
    for (int which = 0; which < TEXTS; which++) {
        write_text(which, header, m, MAILBOX_CACHED_MAX, &text);
        add_text(out, &text);
    }
    buf_free(&text);
    arena_destroy(arena);
}

void mailbox_cache_build(struct slice prefix, struct slice message, struct buf *out) {
    add_u32(out, (uint32_t)prefix.n);
    buf_add_slice(out, prefix);
    mailbox_listing_build(message, out);
}

void mailbox_cache_complete(struct arena *arena, struct slice message, struct mailbox_cached *out) {
    struct slice *texts[TEXTS] = {&out->envelope, &out->body, &out->bodystructure, &out->header};
    struct arena *work = arena_create();
    size_t body_at;
    struct slice header = header_block(message, &body_at);
    const struct mime *m = mime_parse(work, message);
    for (int which = 0; which < TEXTS; which++) {
        struct buf text = {0};
        if (texts[which]->p) continue;
        write_text(which, header, m, SIZE_MAX, &text);
        *texts[which] = arena_slice(arena, buf_slice(&text));
        buf_free(&text);
    }
    arena_destroy(work);
}

/* Removes one text from *packed; p is NULL if it was too large to keep. */
static bool read_text(struct slice *packed, struct slice *text) {
    if (packed->n < 4) return false;
    uint32_t n = mailbox_u32(packed->p);
    *packed = slice_skip(*packed, 4);
    *text = (struct slice){NULL, 0};
    if (n == (uint32_t)ABSENT) return true;
    if (n > packed->n) return false;
    *text = slice_head(*packed, n);
    *packed = slice_skip(*packed, n);
    return true;
}

bool mailbox_cache_read(struct slice packed, struct slice *prefix, struct mailbox_cached *out) {
    struct slice *texts[] = {prefix, &out->envelope, &out->body, &out->bodystructure, &out->header};
    for (size_t i = 0; i < TEXTS + 1; i++)
        if (!read_text(&packed, texts[i])) return false;
    return true;
}

bool mailbox_listing_is_valid(struct slice listing) {
    struct slice text;
    for (size_t i = 0; i < TEXTS; i++)
        if (!read_text(&listing, &text) || text.n > MAILBOX_CACHED_MAX) return false;
    return listing.n == 0;
}
