#include "libcommon/report/report_mail.h"

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"

enum { LINE = 76 }; /* base 64 in a mail, RFC 2045 §6.8 */

/* Adds the value of a field without its control characters. */
static void add_value(struct buf *out, const char *text) {
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c >= ' ' && *c != 0x7f) buf_add_char(out, *c);
}

static void add_field(struct buf *out, const char *name, const char *before, const char *value, const char *after) {
    buf_printf(out, "%s: %s", name, before);
    add_value(out, value);
    buf_printf(out, "%s\r\n", after);
}

static void add_base64(struct buf *out, struct slice bytes) {
    struct buf text = {0};
    base64_encode(bytes, &text);
    for (size_t at = 0; at < text.n; at += LINE) {
        buf_add(out, text.data + at, text.n - at < LINE ? text.n - at : LINE);
        buf_add_str(out, "\r\n");
    }
    buf_free(&text);
}

void report_file_name(const struct report_mail *m, const char *extension, struct buf *out) {
    buf_printf(out, "%s!%s!%lld!%lld.%s", m->submitter, m->domain, (long long)m->begin, (long long)m->end, extension);
}

/* Adds From, To, Subject, Date, Message-ID and the fields that prevent automatic replies (RFC 3834
 * §5). */
static void add_header(const struct report_mail *m, struct buf *out) {
    char when[CLOCK_TEXT_BYTES];
    add_field(out, "From", "<", m->from, ">");
    add_field(out, "To", "<", m->to, ">");
    buf_add_str(out, "Subject: Report Domain: ");
    add_value(out, m->domain);
    buf_add_str(out, "\r\n\tSubmitter: ");
    add_value(out, m->submitter);
    buf_add_str(out, "\r\n\tReport-ID: <");
    add_value(out, m->report_id);
    buf_printf(out, ">\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n",
               clock_rfc5322(m->now_ms, when), m->id, m->host);
}

static void begin_part(const struct report_mail *m, struct buf *out) { buf_printf(out, "--report-%s\r\n", m->id); }

static void add_text_part(const struct report_mail *m, const char *text, struct buf *out) {
    begin_part(m, out);
    buf_printf(out, "Content-Type: text/plain; charset=us-ascii\r\n\r\n%s\r\n", text);
}

static void add_attachment(const struct report_mail *m, const char *type, const char *extension, struct slice bytes,
                           struct buf *out) {
    struct buf name = {0};
    report_file_name(m, extension, &name);
    begin_part(m, out);
    buf_printf(out,
               "Content-Type: %s;\r\n\tname=\"%s\"\r\nContent-Disposition: "
               "attachment;\r\n\tfilename=\"%s\"\r\nContent-Transfer-Encoding: base64\r\n\r\n",
               type, buf_str(&name), buf_str(&name));
    add_base64(out, bytes);
    buf_free(&name);
}

void report_mail_aggregate(const struct report_mail *m, struct slice gzip, struct buf *out) {
    add_header(m, out);
    buf_printf(out, "Content-Type: multipart/mixed;\r\n\tboundary=\"report-%s\"\r\n\r\n", m->id);
    add_text_part(m, "This is a DMARC aggregate report (RFC 9990). The attachment contains it as XML.\r\n", out);
    add_attachment(m, "application/gzip", "xml.gz", gzip, out);
    buf_printf(out, "--report-%s--\r\n", m->id);
}

void report_mail_tls(const struct report_mail *m, struct slice gzip, struct buf *out) {
    add_header(m, out);
    add_field(out, "TLS-Report-Domain", "", m->domain, "");
    add_field(out, "TLS-Report-Submitter", "", m->submitter, "");
    buf_add_str(out, "TLS-Required: No\r\n"); /* the report must arrive even when TLS does not work
                                                 there (RFC 8460 §3, RFC 8689 §3) */
    buf_printf(out, "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n\tboundary=\"report-%s\"\r\n\r\n",
               m->id);
    add_text_part(m, "This is an aggregate TLS report (RFC 8460). The attachment contains it as JSON.\r\n", out);
    add_attachment(m, "application/tlsrpt+gzip", "json.gz", gzip, out);
    buf_printf(out, "--report-%s--\r\n", m->id);
}

void report_mail_failure(const struct report_mail *m, struct slice fields, struct slice header, struct buf *out) {
    char when[CLOCK_TEXT_BYTES];
    add_field(out, "From", "<", m->from, ">");
    add_field(out, "To", "<", m->to, ">");
    add_field(out, "Subject", "DMARC failure report for ", m->domain, "");
    buf_printf(out,
               "Date: %s\r\nMessage-ID: <%s@%s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: "
               "1.0\r\nContent-Type: multipart/report; "
               "report-type=feedback-report;\r\n\tboundary=\"report-%s\"\r\n\r\n",
               clock_rfc5322(m->now_ms, when), m->id, m->host, m->id);
    add_text_part(m,
                  "This is a DMARC failure report (RFC 9991) for a message that came in from the\r\naddress below with "
                  "your domain in its From field. Of its "
                  "header, only what names\r\nno person is given; its text is not.\r\n",
                  out);
    begin_part(m, out);
    buf_add_str(out, "Content-Type: message/feedback-report\r\n\r\n");
    buf_add_slice(out, fields);
    buf_add_str(out, "\r\n");
    begin_part(m, out);
    buf_add_str(out, "Content-Type: text/rfc822-headers\r\n\r\n");
    buf_add_slice(out, header);
    buf_printf(out, "\r\n--report-%s--\r\n", m->id);
}
