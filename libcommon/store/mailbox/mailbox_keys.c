/* The keys of a message: what SEARCH compares, folded, so that it reads no header fields, and the
 * message ids that make threads. Pure.
 *
 * Packed: version u8 (1), number of message ids u8, the ids (8 bytes each), sent i64, the day as
 * written i32, then texts, each with its length u16 before it. */
#include "libcommon/mail/date.h"
#include "libcommon/mail/encoded_word.h"
#include "libcommon/mail/header.h"
#include "libcommon/mail/text_fold.h"
#include "libcommon/store/mailbox/mailbox_private.h"

/* TEXT_MAX: a longer text is left out (LEFT_OUT): a search reads the header instead. */
enum { VERSION = 1, TEXT_MAX = 4096, LEFT_OUT = 0xffff, TEXTS = 5, NUMBERS = 12, ID_BYTES = 8 };

static void add_number(struct buf *out, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) buf_add_char(out, (char)(v >> (8 * i) & 0xff));
}

static void add_text(struct buf *out, struct slice text) {
    bool keep = text.n <= TEXT_MAX;
    add_number(out, keep ? text.n : LEFT_OUT, 2);
    if (keep) buf_add_slice(out, text);
}

/* FNV-1a, 64 bits, without the white space that folding puts into an id. 0 is no id. */
uint64_t mailbox_message_id_hash(struct slice id) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < id.n; i++) {
        if (strchr(" \t\r\n", id.p[i])) continue;
        hash = (hash ^ (unsigned char)id.p[i]) * 0x100000001b3u;
    }
    return hash ? hash : 1;
}

/* Takes the next "<…>" out of a value. */
static bool next_id(struct slice *value, struct slice *id) {
    ptrdiff_t open = slice_find(*value, '<');
    if (open < 0) return false;
    struct slice rest = slice_skip(*value, (size_t)open + 1);
    ptrdiff_t close = slice_find(rest, '>');
    if (close < 0) return false;
    *id = slice_head(rest, (size_t)close);
    *value = slice_skip(rest, (size_t)close + 1);
    return true;
}

static bool has_id(const uint64_t ids[], size_t count, uint64_t id) {
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id) return true;
    return false;
}

/* The ids in a field, after those that are there: at most MAILBOX_IDS_MAX, the last ones. */
static size_t add_ids(struct slice header, const char *name, uint64_t ids[], size_t count) {
    struct header_field f;
    struct slice value, id;
    if (!header_find(header, name, &f)) return count;
    for (value = f.value; next_id(&value, &id);) {
        uint64_t hash = mailbox_message_id_hash(id);
        if (has_id(ids, count, hash)) continue;
        if (count == MAILBOX_IDS_MAX) memmove(ids + 1, ids + 2, (--count - 1) * sizeof *ids);
        ids[count++] = hash;
    }
    return count;
}

static void write_ids(struct slice header, struct buf *out) {
    uint64_t ids[MAILBOX_IDS_MAX] = {0};
    struct header_field f;
    struct slice id, value;
    if (header_find(header, "Message-ID", &f)) {
        value = f.value;
        if (next_id(&value, &id)) ids[0] = mailbox_message_id_hash(id);
    }
    size_t count = add_ids(header, "References", ids, 1);
    count = add_ids(header, "In-Reply-To", ids, count); /* what References lacks is nearest */
    if (count == 1 && !ids[0]) count = 0;
    buf_add_char(out, (char)count);
    for (size_t i = 0; i < count; i++) add_number(out, ids[i], ID_BYTES);
}

/* As SEARCH compares a field: decoded and folded, and as it was sent, where that differs. */
static void fold_field(struct slice value, struct buf *out) {
    struct buf unfolded = {0}, decoded = {0};
    header_unfold(value, &unfolded);
    encoded_word_decode(buf_slice(&unfolded), &decoded);
    if (out->n) buf_add_char(out, '\0');
    text_fold(buf_slice(&decoded), out);
    if (!slice_equal(buf_slice(&decoded), buf_slice(&unfolded))) {
        buf_add_char(out, '\0');
        text_fold(buf_slice(&unfolded), out);
    }
    buf_free(&unfolded);
    buf_free(&decoded);
}

static void add_fields(struct slice header, const char *name, struct buf *out) {
    struct header_field f;
    struct buf text = {0};
    size_t at = 0;
    while (text.n <= TEXT_MAX && header_next(header, &at, &f) == 1)
        if (slice_is_nocase(f.name, name)) fold_field(f.value, &text);
    add_text(out, buf_slice(&text));
    buf_free(&text);
}

void mailbox_keys_build(struct slice header, struct buf *out) {
    struct header_field f;
    struct date date = {0};
    bool dated = header_find(header, "Date", &f) && date_parse(f.value, &date) == 0;
    buf_add_char(out, VERSION);
    write_ids(header, out);
    int64_t day = dated ? date_days(date.year, date.month, date.day) : MAILBOX_NO_DAY;
    add_number(out, (uint64_t)(dated ? date.seconds : MAILBOX_NO_DATE), 8);
    add_number(out, (uint64_t)day, 4);
    add_fields(header, "Subject", out);
    add_fields(header, "From", out);
    add_fields(header, "To", out);
    add_fields(header, "Cc", out);
    add_fields(header, "Bcc", out);
}

bool mailbox_keys_read(struct slice packed, struct mailbox_keys *out) {
    struct slice *texts[TEXTS] = {&out->subject, &out->from, &out->to, &out->cc, &out->bcc};
    if (packed.n < 2 || packed.p[0] != VERSION) return false;
    out->id_count = (unsigned char)packed.p[1];
    out->ids = packed.p + 2;
    packed = slice_skip(packed, 2);
    if (out->id_count > MAILBOX_IDS_MAX || packed.n < out->id_count * ID_BYTES + NUMBERS) return false;
    packed = slice_skip(packed, out->id_count * ID_BYTES);
    out->sent = (int64_t)mailbox_u64(packed.p);
    out->sent_day = (int32_t)mailbox_u32(packed.p + 8);
    packed = slice_skip(packed, NUMBERS);
    for (size_t i = 0; i < TEXTS; i++) {
        if (packed.n < 2) return false;
        size_t n = (unsigned char)packed.p[0] | (size_t)(unsigned char)packed.p[1] << 8;
        packed = slice_skip(packed, 2);
        *texts[i] = (struct slice){NULL, 0};
        if (n == LEFT_OUT) continue;
        if (n > packed.n) return false;
        *texts[i] = slice_head(packed, n);
        packed = slice_skip(packed, n);
    }
    return true;
}

uint64_t mailbox_keys_id(const struct mailbox_keys *keys, size_t i) {
    return i < keys->id_count ? mailbox_u64(keys->ids + i * ID_BYTES) : 0;
}
