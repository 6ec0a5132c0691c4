#include "services/delivery/report/dsn.h"

#include <sodium.h>
#include <stdio.h>

#include "libcommon/base/clock.h"
#include "libcommon/mail/header.h"

enum { RETURNED_MAX = 64 * 1024, REASON_MAX = 600 };

static const struct kind {
    const char *subject, *intro, *word, *action;
} kinds[] = {
    [REPORT_NONE] = {"", "", "", ""},
    [REPORT_FAILED] = {"Your message could not be delivered", "Your message could not be delivered to:", "failed",
                       "failed"},
    [REPORT_DELAYED] = {"Your message is delayed",
                        "Your message has not been delivered yet. You need not send it again: it is still being tried.",
                        "delayed", "delayed"},
    [REPORT_DELIVERED] = {"Your message was delivered", "Your message was delivered to:", "delivered", "delivered"},
    [REPORT_RELAYED] = {"Your message was handed on",
                        "Your message was handed on to a server that sends no confirmations of its own:", "handed on",
                        "relayed"},
};

void dsn_id(const struct envelope *e, enum rcpt_report kind, size_t count, const size_t indexes[],
            char out[ULID_BYTES]) {
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    unsigned char digest[32];
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, sizeof digest);
    crypto_generichash_update(&h, (const unsigned char *)e->id, ULID_LENGTH);
    for (size_t i = 0; i < count; i++) { /* the attempts too: a second delay would be another
                                            report */
        const struct envelope_rcpt *r = &e->rcpts[indexes[i]];
        unsigned char what[8] = {(unsigned char)kind, (unsigned char)(indexes[i] & 0xff),
                                 (unsigned char)(indexes[i] >> 8), (unsigned char)r->attempts};
        crypto_generichash_update(&h, what, sizeof what);
    }
    crypto_generichash_final(&h, digest, sizeof digest);
    memcpy(out, e->id, 10); /* the time of the message it is about */
    for (int i = 10; i < ULID_LENGTH; i++) out[i] = alphabet[digest[i] & 31];
    out[ULID_LENGTH] = 0;
}

static bool is_ascii(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] & 0x80) return false;
    return true;
}

bool dsn_needs_smtputf8(const struct envelope *e) { return !is_ascii(e->from); }

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

void dsn_add_xtext(struct buf *out, struct slice text) {
    size_t before = out->n;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '+' && i + 2 < text.n && hex_digit(text.p[i + 1]) >= 0 && hex_digit(text.p[i + 2]) >= 0) {
            c = (char)(hex_digit(text.p[i + 1]) * 16 + hex_digit(text.p[i + 2]));
            i += 2;
        }
        if (c < ' ' || c > '~') { /* it would break the field: the whole text is used as given */
            out->n = before;
            for (size_t k = 0; k < text.n; k++)
                buf_add_char(out, text.p[k] >= ' ' && text.p[k] <= '~' ? text.p[k] : '?');
            return;
        }
        buf_add_char(out, c);
    }
}

/* The code point that begins at s, and its bytes; a byte that begins none is taken for itself. */
static uint32_t code_point(struct slice s, size_t *n) {
    unsigned char c = (unsigned char)s.p[0];
    size_t more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    uint32_t value = more == 3 ? c & 7u : more == 2 ? c & 15u : more == 1 ? c & 31u : c;
    if (more >= s.n) more = 0;
    for (size_t i = 1; i <= more; i++) value = value << 6 | ((unsigned char)s.p[i] & 63u);
    *n = more + 1;
    return value;
}

void dsn_add_address(struct buf *out, struct slice address, bool global) {
    if (is_ascii(address)) {
        buf_printf(out, "rfc822; %.*s", SLICE_FMT(address));
        return;
    }
    buf_add_str(out, "utf-8; ");
    if (global) {
        buf_add_slice(out, address);
        return;
    }
    for (size_t at = 0, n; at < address.n; at += n) { /* utf-8-addr-xtext, RFC 6533 §3 */
        uint32_t c = code_point(slice_skip(address, at), &n);
        if (c > ' ' && c < 0x7f && c != '\\' && c != '+' && c != '=')
            buf_add_char(out, (char)c);
        else
            buf_printf(out, "\\x{%X}", c);
    }
}

/* Adds one line of text from outside, which cannot begin another field. */
static void add_line(struct buf *out, struct slice text, bool ascii) {
    for (size_t i = 0; i < text.n && i < REASON_MAX; i++) {
        unsigned char c = (unsigned char)text.p[i];
        buf_add_char(out, c < ' ' || c == 0x7f ? ' ' : ascii && c > 0x7f ? '?' : (char)c);
    }
}

/* Original-Recipient (RFC 3464 §2.3.1): the address type as given, the address without its xtext
 * (RFC 3461 §6.3). */
static void add_original_recipient(struct buf *out, struct slice orcpt) {
    struct slice type;
    if (!orcpt.n || !slice_cut(&orcpt, ';', &type)) return;
    buf_add_str(out, "Original-Recipient: ");
    add_line(out, slice_trim(type), true);
    buf_add_str(out, "; ");
    dsn_add_xtext(out, slice_trim(orcpt));
    buf_add_str(out, "\r\n");
}

/* The part for people. */
static void add_human_part(struct buf *out, const struct envelope *e, enum rcpt_report kind, size_t count,
                           const size_t indexes[]) {
    buf_printf(out, "%s\r\n\r\n", kinds[kind].intro);
    for (size_t i = 0; i < count; i++) {
        const struct envelope_rcpt *r = &e->rcpts[indexes[i]];
        buf_printf(out, "<%.*s>: %s\r\n    ", SLICE_FMT(r->address), kinds[kind].word);
        if (r->host.n) buf_printf(out, "%.*s said: ", SLICE_FMT(r->host));
        add_line(out, r->reply, false);
        buf_add_str(out, "\r\n");
    }
}

/* message/delivery-status (RFC 3464 §2), or message/global-delivery-status (RFC 6533 §4). */
static void add_status_part(struct buf *out, const char *hostname, const struct envelope *e, enum rcpt_report kind,
                            size_t count, const size_t indexes[], bool global) {
    char when[CLOCK_TEXT_BYTES];
    if (e->envid.n) {
        buf_add_str(out, "Original-Envelope-Id: ");
        dsn_add_xtext(out, e->envid);
        buf_add_str(out, "\r\n");
    }
    buf_printf(out, "Reporting-MTA: dns; %s\r\nArrival-Date: %s\r\n", hostname, clock_rfc5322(e->received_ms, when));
    for (size_t i = 0; i < count; i++) {
        const struct envelope_rcpt *r = &e->rcpts[indexes[i]];
        buf_add_str(out, "\r\n");
        add_original_recipient(out, r->orcpt);
        buf_add_str(out, "Final-Recipient: ");
        dsn_add_address(out, r->address, global);
        buf_printf(out, "\r\nAction: %s\r\nStatus: %.*s\r\n", kinds[kind].action, SLICE_FMT(r->enhanced));
        if (r->host.n) {
            buf_printf(out, "Remote-MTA: dns; %.*s\r\nDiagnostic-Code: smtp; ", SLICE_FMT(r->host));
            add_line(out, r->reply, !global);
            buf_add_str(out, "\r\n");
        }
    }
}

/* The third part: the message, or its header (RFC 6522 §3, §4; with UTF-8 in it RFC 6533 §5,
 * §6). */
static void add_original(struct buf *out, const struct envelope *e, struct slice original) {
    size_t body_at;
    struct slice header = header_block(original, &body_at);
    /* RFC 8689 §5: for a message with REQUIRETLS only the header is returned */
    bool full = slice_is_nocase(e->ret, "full") && original.n && original.n <= RETURNED_MAX && !e->require_tls;
    bool global = !is_ascii(header);
    const char *type = full     ? (global ? "message/global" : "message/rfc822")
                       : global ? "message/global-headers"
                                : "text/rfc822-headers";
    struct slice text = full ? original : header;
    if (!full && text.n > RETURNED_MAX) { /* whole fields only */
        size_t at = 0, end = 0;
        struct header_field field;
        while (end <= RETURNED_MAX && header_next(header, &at, &field) == 1 && at <= RETURNED_MAX) end = at;
        text = slice_head(text, end);
    }
    buf_printf(out, "Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n", type,
               is_ascii(text) ? "7bit" : "8bit");
    buf_add_slice(out, text);
}

void dsn_text(const char *hostname, const char *report_id, const struct envelope *e, enum rcpt_report kind,
              size_t count, const size_t indexes[], struct slice original, int64_t now_ms, struct buf *out) {
    char when[CLOCK_TEXT_BYTES];
    bool global = dsn_needs_smtputf8(e);
    buf_printf(out,
               "From: Mail Delivery System <MAILER-DAEMON@%s>\r\nTo: <%.*s>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: "
               "<%s@%s>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
               "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"report-%s\"\r\n\r\n",
               hostname, SLICE_FMT(e->from), kinds[kind].subject, clock_rfc5322(now_ms, when), report_id, hostname,
               report_id);
    buf_printf(out, "--report-%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
               report_id);
    add_human_part(out, e, kind, count, indexes);
    buf_printf(out, "\r\n--report-%s\r\nContent-Type: message/%s\r\n", report_id,
               global ? "global-delivery-status\r\nContent-Transfer-Encoding: 8bit" : "delivery-status");
    buf_add_str(out, "\r\n");
    add_status_part(out, hostname, e, kind, count, indexes, global);
    buf_printf(out, "\r\n--report-%s\r\n", report_id);
    add_original(out, e, original);
    buf_printf(out, "\r\n--report-%s--\r\n", report_id);
}
