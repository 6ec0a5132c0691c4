/* The checks of a whole submitted message: its header is completed (RFC 6409 §8), its authors must
 * be the login's own, and it is signed. */
#include <stdio.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/mail/address.h"
#include "libcommon/mail/header.h"
#include "services/smtpd/smtpd.h"

/* The authors */

/* The address in the form in which accounts compares it; -1: it is not an address. */
static int normalise(const struct address *a, struct mail_address *out) {
    struct buf text = {0};
    buf_add_char(&text, '"');
    for (size_t i = 0; i < a->local.n; i++) {
        if (a->local.p[i] == '"' || a->local.p[i] == '\\') buf_add_char(&text, '\\');
        buf_add_char(&text, a->local.p[i]);
    }
    buf_add_str(&text, "\"@");
    buf_add_slice(&text, a->domain);
    int error = address_normalise(buf_slice(&text), out);
    buf_free(&text);
    return error;
}

static bool same(const struct mail_address *a, const struct mail_address *b) {
    return slice_is(slice_of(a->local), b->local) && slice_is(slice_of(a->domain), b->domain);
}

/* Reads the mailboxes of a field's value into a new list of the arena; 0 when there is none, or one
 * is no address, or there are more than SMTP_AUTHORS_MAX. */
static size_t read_mailboxes(struct arena *arena, struct slice value, struct mail_address **out) {
    struct address *parsed;
    size_t count = address_parse(arena, value, SMTP_AUTHORS_MAX * 3 + 1, &parsed), n = 0;
    *out = arena_alloc(arena, (SMTP_AUTHORS_MAX + 1) * sizeof **out);
    for (size_t i = 0; i < count; i++) {
        if (parsed[i].kind != ADDRESS_MAILBOX) continue;
        if (n == SMTP_AUTHORS_MAX || normalise(&parsed[i], *out + n) != 0) return 0;
        n++;
    }
    return count > SMTP_AUTHORS_MAX * 3 ? 0 : n;
}

const char *outgoing_authors(struct transaction *t, struct slice header) {
    struct header_field field;
    struct mail_address *from, *sender = NULL, envelope;
    if (header_count(header, "From") != 1 || !header_find(header, "From", &field))
        return "The message needs exactly one From field (RFC 5322 section 3.6)";
    size_t count = read_mailboxes(t->arena, field.value, &from);
    if (!count) return "The From field has no valid address";
    if (header_count(header, "Sender") > 1) return "The message has more than one Sender field";
    if (header_find(header, "Sender", &field) && read_mailboxes(t->arena, field.value, &sender) != 1)
        return "The Sender field needs exactly one address";
    bool sender_answers = sender && count > 1;
    t->authors.domain = arena_copy(t->arena, slice_of(sender_answers ? sender->domain : from->domain));
    t->authors.list = sender_answers ? sender : from;
    t->authors.count = sender_answers ? 1 : count;
    if (sender && !sender_answers && !same(sender, from)) from[t->authors.count++] = *sender;
    if (address_normalise(t->from, &envelope) != 0) return NULL;
    size_t left = 0; /* MAIL FROM was checked */
    for (size_t i = 0; i < t->authors.count; i++)
        if (!same(&t->authors.list[i], &envelope)) t->authors.list[left++] = t->authors.list[i];
    t->authors.count = left;
    return NULL;
}

static void on_owns(struct checking *c, int error, struct slice reply) {
    struct session *s = c->session;
    char address[ADDRESS_BYTES_MAX];
    address_text(&s->t.authors.list[s->t.authors.next++], address);
    if (error == BUS_UNAVAILABLE)
        check_reject(c, 451, "4.3.0", "The author's address cannot be checked now, try again later");
    else if (error || !owner_answer(c, reply, slice_of(address)))
        check_reject(c, 550, "5.7.1", "The author %s is not one of your addresses", address);
    else
        check_authors(c);
}

/* Without this, one account could send signed mail in the name of another (RFC 6409 §6.1). */
void check_authors(struct checking *c) {
    struct session *s = c->session;
    struct transaction *t = &s->t;
    char address[ADDRESS_BYTES_MAX];
    if (!session_is_submission(s)) return;
    while (
        t->authors.next < t->authors.count &&
        resolver_owns(s->smtpd->resolver, s->user, slice_of(address_text(&t->authors.list[t->authors.next], address))))
        t->authors.next++;
    if (t->authors.next == t->authors.count) return;
    ask_owner(c, slice_of(address), on_owns);
}

/* Header and signature */

/* Adds required fields that the client left out, and removes Bcc (RFC 5322 §3.6.3).
 */
void check_header(struct checking *c) {
    struct session *s = c->session;
    struct transaction *t = &s->t;
    struct slice header = message_header(t);
    struct header_field field;
    struct buf missing = {0};
    char when[CLOCK_TEXT_BYTES];
    if (!session_is_submission(s)) return;
    const char *wrong = outgoing_authors(t, header);
    if (wrong) {
        check_reject(c, 550, "5.6.0", "%s", wrong);
        return;
    }
    if (!header_find(header, "Date", &field))
        buf_printf(&missing, "Date: %s\r\n", clock_rfc5322(clock_wall_ms(), when));
    if (!header_find(header, "Message-ID", &field)) {
        snprintf(t->message_id, sizeof t->message_id, "<%s@%s>", t->id, s->smtpd->worker->hostname);
        buf_printf(&missing, "Message-ID: %s\r\n", t->message_id);
    }
    message_put_on_top(t, buf_slice(&missing));
    buf_free(&missing);
    message_drop_fields(t, "Bcc");
    message_drop_fields(t, "Resent-Bcc");
    message_drop_fields(t, "Return-Path"); /* RFC 5321 §4.4 */
}

static void on_signed(struct checking *c, int error, struct slice reply) {
    struct transaction *t = &c->session->t;
    struct slice fields;
    if (error == BUS_UNAVAILABLE)
        check_reject(c, 451, "4.7.0", "The message cannot be signed now, try again later");
    else if (error == BUS_OK && sign_reply_read(t->arena, reply, &fields) == NULL)
        message_put_on_top(t, fields); /* above the fields that we added, which they cover */
    else
        log_info("sent without a signature: the domain has no key here", "id", t->id, "domain", t->authors.domain,
                 NULL);
}

void check_signature(struct checking *c) {
    struct session *s = c->session;
    struct transaction *t = &s->t;
    struct buf header = {0}, text = {0};
    if (!session_is_submission(s)) return;
    buf_add_slice(&header, buf_slice(&t->change.on_top));
    message_kept_header(t, &header); /* dropped fields are not signed */
    struct sign_ask ask = {.id = slice_of(t->id),
                           .domain = slice_of(t->authors.domain),
                           .header = buf_slice(&header),
                           .body_hash = slice_make(t->digests[0], BODY_HASH_BYTES)};
    sign_ask_write(&ask, &text);
    buf_free(&header);
    check_ask(c, "verifier.sign", &text, SMTP_VERIFY_MS, on_signed);
}
