#include "libcommon/report/dmarc_failure.h"

#include <stdio.h>

#include "libcommon/mail/encoded_word.h"
#include "libcommon/mail/header.h"

/* The fields in the order in which they are written. */
static const struct field {
    const char *name, *member;
    bool list, number;
} fields[] = {
    {"Feedback-Type", "feedback_type", false, false},
    {"User-Agent", "user_agent", false, false},
    {"Version", "version", false, false},
    {"Auth-Failure", "auth_failure", false, false},             /* RFC 6591 §3.1; "dmarc" RFC 9991 §4 */
    {"Identity-Alignment", "identity_alignment", false, false}, /* RFC 9991 §4 */
    {"Delivery-Result", "delivery_result", false, false},
    {"Original-Mail-From", "original_mail_from", false, false},
    {"Original-Rcpt-To", "original_rcpt_to", true, false},
    {"Arrival-Date", "arrival_date", false, false},
    {"Source-IP", "source_ip", false, false},
    {"Reported-Domain", "reported_domain", false, false},
    {"Reported-URI", "reported_uri", true, false},
    {"Authentication-Results", "authentication_results", false, false},
    {"DKIM-Domain", "dkim_domain", false, false},
    {"DKIM-Identity", "dkim_identity", false, false},
    {"DKIM-Selector", "dkim_selector", false, false},
    {"SPF-DNS", "spf_dns", false, false},
    {"Incidents", "incidents", false, true},
};

/* Text of a message as UTF-8 without control characters other than the ends of lines. */
static json_t *clean(struct slice s, size_t max) {
    struct buf text = {0}, utf8 = {0};
    buf_add_slice(&text, slice_head(s, max));
    for (size_t i = 0; i < text.n; i++)
        if (((unsigned char)text.data[i] < ' ' && text.data[i] != '\n' && text.data[i] != '\r' &&
             text.data[i] != '\t') ||
            text.data[i] == 0x7f)
            text.data[i] = ' ';
    charset_to_utf8(SLICE("utf-8"), buf_slice(&text), &utf8);
    json_t *made = json_stringn(buf_str(&utf8), utf8.n);
    buf_free(&text);
    buf_free(&utf8);
    return made ? made : json_string("");
}

static void take(json_t *report, const struct field *f, struct slice value) {
    struct buf text = {0};
    uint64_t n;
    header_unfold(value, &text);
    struct slice unfolded = slice_trim(buf_slice(&text));
    if (f->number) {
        if (slice_to_u64(unfolded, INT32_MAX, &n) == 0)
            json_object_set_new(report, f->member, json_integer((json_int_t)n));
    } else if (f->list) {
        json_t *list = json_object_get(report, f->member);
        if (!list) {
            list = json_array();
            json_object_set_new(report, f->member, list);
        }
        if (json_array_size(list) < FAILURE_LIST_MAX) json_array_append_new(list, clean(unfolded, FAILURE_TEXT_MAX));
    } else if (!json_object_get(report, f->member)) {
        json_object_set_new(report, f->member, clean(unfolded, FAILURE_TEXT_MAX));
    }
    buf_free(&text);
}

json_t *dmarc_failure_read(struct slice block, struct slice original, char why[160]) {
    json_t *report = json_object();
    struct header_field field;
    size_t at = 0, body_at;
    why[0] = 0;
    while (block.n >= 2 && block.p[0] == '\r' && block.p[1] == '\n') block = slice_skip(block, 2);
    block = header_block(block, &body_at);
    while (header_next(block, &at, &field) == 1)
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
            if (slice_is_nocase(field.name, fields[i].name)) take(report, &fields[i], field.value);
    const char *type = json_string_value(json_object_get(report, "feedback_type"));
    if (!type)
        snprintf(why, 160, "the feedback report has no Feedback-Type");
    else if (strcasecmp(type, "auth-failure") != 0)
        snprintf(why, 160, "the feedback report is not about authentication: its type is %.60s", type);
    if (*why) {
        json_decref(report);
        return NULL;
    }
    if (original.n) json_object_set_new(report, "header", clean(header_block(original, &body_at), FAILURE_HEADER_MAX));
    return report;
}

/* Adds a field; a value cannot begin another field. */
static void add_field(struct buf *out, const char *name, const char *value) {
    buf_printf(out, "%s: ", name);
    for (const char *c = value; *c; c++) buf_add_char(out, (unsigned char)*c < ' ' || *c == 0x7f ? ' ' : *c);
    buf_add_str(out, "\r\n");
}

void dmarc_failure_write(const json_t *report, struct buf *out) {
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const json_t *value = json_object_get(report, fields[i].member);
        json_t *each;
        size_t k;
        char number[24];
        if (json_is_integer(value)) {
            snprintf(number, sizeof number, "%lld", json_integer_value(value));
            add_field(out, fields[i].name, number);
        } else if (json_is_string(value)) {
            add_field(out, fields[i].name, json_string_value(value));
        }
        json_array_foreach(value, k, each) if (json_is_string(each))
            add_field(out, fields[i].name, json_string_value(each));
    }
}
