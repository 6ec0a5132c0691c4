/* Whether a message fits search keys. Header texts are compared without regard to case, after
 * decoding encoded words; what the body's texts hold is found before (search_text.h). */
#include "libcommon/mail/date.h"
#include "libcommon/mail/encoded_word.h"
#include "libcommon/mail/header.h"
#include "services/imapd/search/search.h"
#include "services/imapd/search/search_text.h"

enum { DAY = 86400 };

static bool field_has(struct slice value, struct slice text) {
    struct buf unfolded = {0}, decoded = {0}, folded = {0};
    header_unfold(value, &unfolded);
    encoded_word_decode(buf_slice(&unfolded), &decoded);
    text_fold(buf_slice(&decoded), &folded);
    bool has = text_has(buf_slice(&folded), text);
    if (!has && !slice_equal(buf_slice(&decoded), buf_slice(&unfolded))) { /* as it was sent */
        buf_reset(&folded);
        text_fold(buf_slice(&unfolded), &folded);
        has = text_has(buf_slice(&folded), text);
    }
    buf_free(&unfolded);
    buf_free(&decoded);
    buf_free(&folded);
    return has;
}

const struct slice *search_keys_field(const struct mailbox_keys *keys, struct slice field) {
    const struct {
        const char *name;
        const struct slice *text;
    } fields[] = {
        {"Subject", &keys->subject}, {"From", &keys->from}, {"To", &keys->to}, {"Cc", &keys->cc}, {"Bcc", &keys->bcc}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (slice_is_nocase(field, fields[i].name)) return fields[i].text;
    return NULL;
}

static bool header_has(struct slice header, struct slice name, struct slice text) {
    struct header_field f;
    size_t at = 0;
    while (header_next(header, &at, &f) == 1)
        if ((!name.n || slice_equal_nocase(f.name, name)) && field_has(f.value, text)) return true;
    return false;
}

/* The day of the Date field as written, without time and zone (RFC 9051 §6.4.4 SENTON). */
static bool sent_day(struct slice header, int64_t *day) {
    struct header_field f;
    struct date date;
    if (!header_find(header, "Date", &f) || date_parse(f.value, &date) != 0) return false;
    *day = date_days(date.year, date.month, date.day) * DAY;
    return true;
}

static bool keyword_fits(const struct search_message *m, struct slice keyword) {
    for (size_t i = 0; i < m->view->keyword_count; i++)
        if (slice_equal_nocase(keyword, slice_of(m->view->keywords[i])))
            return m->record->flags >> (MAILBOX_KEYWORD_SHIFT + i) & 1;
    return false;
}

static bool sent_fits(const struct search_key *key, const struct search_message *m) {
    int64_t day, wanted = (int64_t)key->number;
    if (m->keys) {
        if (m->keys->sent_day == MAILBOX_NO_DAY) return false;
        day = (int64_t)m->keys->sent_day * DAY;
    } else if (!sent_day(m->header, &day)) {
        return false;
    }
    return key->kind == SEARCH_SENT_BEFORE ? day < wanted : key->kind == SEARCH_SENT_ON ? day == wanted : day >= wanted;
}

/* Where the save date is not known, the internal date is compared (RFC 8514 §4.3). */
static int64_t saved_at(const struct mailbox_record *r) { return r->savedate ? (int64_t)r->savedate : r->date; }

bool search_fits(const struct search_key *key, const struct search_message *m) {
    const struct mailbox_record *r = m->record;
    char id[MAILBOX_OBJECT_ID_MAX];
    int64_t day = (int64_t)key->number;
    switch (key->kind) {
    case SEARCH_AND:
        for (const struct search_key *k = key->children; k; k = k->next)
            if (!search_fits(k, m)) return false;
        return true;
    case SEARCH_OR: return search_fits(key->children, m) || search_fits(key->children->next, m);
    case SEARCH_NOT: return !search_fits(key->children, m);
    case SEARCH_ALL: return true;
    case SEARCH_RECENT: return view_is_recent(m->view, r->uid);
    case SEARCH_NEW: return !(r->flags & MAILBOX_SEEN) && view_is_recent(m->view, r->uid);
    case SEARCH_FLAG: return (r->flags & key->number) == key->number;
    case SEARCH_KEYWORD: return keyword_fits(m, key->text);
    case SEARCH_SEQUENCE: return set_has(&key->set, (uint32_t)view_sequence(m->view, r));
    case SEARCH_UID: return set_has(&key->set, r->uid);
    case SEARCH_BEFORE: return r->date < day;
    case SEARCH_ON: return r->date >= day && r->date < day + DAY;
    case SEARCH_SINCE: return r->date >= day;
    case SEARCH_SENT_BEFORE:
    case SEARCH_SENT_ON:
    case SEARCH_SENT_SINCE: return sent_fits(key, m);
    case SEARCH_OLDER: return r->date <= day;
    case SEARCH_YOUNGER: return r->date >= day;
    case SEARCH_SAVED_BEFORE: return saved_at(r) < day;
    case SEARCH_SAVED_ON: return saved_at(r) >= day && saved_at(r) < day + DAY;
    case SEARCH_SAVED_SINCE: return saved_at(r) >= day;
    case SEARCH_EMAILID: return slice_equal(mailbox_email_id(r, id), key->text);
    case SEARCH_THREADID: return r->thread && slice_equal(mailbox_thread_id(r, id), key->text);
    case SEARCH_LARGER: return r->size > key->number;
    case SEARCH_SMALLER: return r->size < key->number;
    case SEARCH_MODSEQ: return r->modseq >= key->number;
    case SEARCH_HEADER:
        if (m->keys) return text_has(*search_keys_field(m->keys, key->field), key->text);
        return header_has(m->header, key->field, key->text);
    case SEARCH_BODY: return m->found && m->found[key->index];
    case SEARCH_TEXT: return (m->found && m->found[key->index]) || header_has(m->header, SLICE(""), key->text);
    }
    return false;
}
