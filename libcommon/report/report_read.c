#include "libcommon/report/report_read.h"

#include <stdio.h>

#include "libcommon/mail/domain.h"
#include "libcommon/mail/header.h"
#include "libcommon/mail/mime.h"
#include "libcommon/report/dmarc_aggregate.h"
#include "libcommon/report/dmarc_failure.h"
#include "libcommon/report/report_archive.h"
#include "libcommon/report/tls_report.h"

enum { PARTS_TRIED_MAX = 8 };

const char *report_kind_text(enum report_kind kind) {
    static const char *const words[] = {"dmarc", "tls", "failures", "unreadable"};
    return words[kind];
}

void report_read_free(struct report_read *r) {
    json_decref(r->report);
    r->report = NULL;
}

static void refuse(struct report_read *out, const char *why) {
    out->kind = REPORT_UNREADABLE;
    snprintf(out->why, sizeof out->why, "%s", why);
}

static void take_domain(struct report_read *out, const char *domain) {
    struct slice s = slice_of(domain);
    if (s.n && s.p[s.n - 1] == '.') s.n--;
    if (domain_normalise(s, out->domain) != 0) refuse(out, "the domain in the report is not a domain name");
}

/* Removes records until the JSON is within the bounds of the bus and the store. */
static void trim(json_t *report, json_t *list) {
    size_t size = json_dumpb(report, NULL, 0, JSON_COMPACT), count = json_array_size(list);
    json_int_t cut = json_integer_value(json_object_get(report, "records_cut"));
    while (size > REPORT_JSON_MAX && count) {
        size_t keep = count / 2;
        cut += (json_int_t)(count - keep);
        while (count > keep) json_array_remove(list, --count);
        size = json_dumpb(report, NULL, 0, JSON_COMPACT);
    }
    if (cut) json_object_set_new(report, "records_cut", json_integer(cut));
}

/* A report's own bytes, out of any archive. */
static void read_content(struct slice bytes, struct report_read *out) {
    bytes = slice_trim(bytes);
    if (slice_starts(bytes, SLICE("\xef\xbb\xbf"))) bytes = slice_trim(slice_skip(bytes, 3));
    out->why[0] = 0;
    if (bytes.n && bytes.p[0] == '{') {
        out->report = tls_report_read(bytes, out->why);
        out->kind = out->report ? REPORT_TLS : REPORT_UNREADABLE;
        if (!out->report) return;
        tls_report_range(out->report, &out->begin, &out->end);
        tls_report_totals(out->report, &out->passed, &out->failed);
        take_domain(out, tls_report_domain(out->report));
        trim(out->report, json_object_get(out->report, "policies"));
    } else if (bytes.n && (bytes.p[0] == '<' || (unsigned char)bytes.p[0] >= 0xfe)) {
        out->report = dmarc_aggregate_read(bytes, out->why);
        out->kind = out->report ? REPORT_DMARC : REPORT_UNREADABLE;
        if (!out->report) return;
        out->begin = json_integer_value(json_object_get(out->report, "begin"));
        out->end = json_integer_value(json_object_get(out->report, "end"));
        dmarc_aggregate_totals(out->report, &out->failed, &out->passed);
        out->failed -= out->passed;
        take_domain(out, json_string_value(json_object_get(json_object_get(out->report, "policy"), "domain")));
        trim(out->report, json_object_get(out->report, "records"));
    } else {
        refuse(out, "it is neither the XML of a DMARC report nor the JSON of a TLS report");
    }
    if (out->kind == REPORT_UNREADABLE) report_read_free(out);
}

static void read_packed(struct slice bytes, struct report_read *out) {
    struct buf content = {0};
    const char *why;
    if (report_unpack(bytes, &content, &why) != 0)
        refuse(out, why);
    else
        read_content(buf_slice(&content), out);
    buf_free(&content);
}

/* A mail */

static bool ends_with(struct slice s, const char *end) {
    size_t n = strlen(end);
    return s.n >= n && slice_is_nocase(slice_skip(s, s.n - n), end);
}

/* Whether a leaf can hold a report, by its type or its file name. */
static bool is_candidate(struct arena *arena, const struct mime *m, uint32_t part) {
    static const char *const types[] =
        {"application/gzip",        "application/x-gzip",      "application/zip", "application/x-zip-compressed",
         "application/tlsrpt+gzip", "application/tlsrpt+json", "text/xml",        "application/xml",
         "application/json"},
                             *const names[] = {".gz", ".zip", ".xml", ".json"};
    const struct mime_part *p = &m->parts[part];
    const char *type = arena_printf(arena, "%.*s/%.*s", SLICE_FMT(p->type), SLICE_FMT(p->subtype));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcasecmp(type, types[i]) == 0) return true;
    static const char *const fields[] = {"Content-Disposition", "filename", "Content-Type", "name"};
    for (size_t f = 0; f < 4; f += 2) {
        struct header_field field;
        struct mime_value *value = arena_alloc(arena, sizeof *value);
        struct slice name;
        if (!header_find(mime_header(m, part), fields[f], &field)) continue;
        mime_read_value(arena, field.value, value);
        if (!mime_parameter(value, fields[f + 1], &name)) continue;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (ends_with(name, names[i])) return true;
    }
    return false;
}

static bool is_type(const struct mime_part *p, const char *type, const char *subtype) {
    return slice_is_nocase(p->type, type) && slice_is_nocase(p->subtype, subtype);
}

/* The header of the message that a feedback report is about: the last part that is a message or
 * headers. */
static void add_original(const struct mime *m, struct buf *out) {
    for (uint32_t i = (uint32_t)m->count; i-- > 0;)
        if (is_type(&m->parts[i], "text", "rfc822-headers") || is_type(&m->parts[i], "message", "rfc822")) {
            mime_decode_body(m, i, out);
            return;
        }
}

static void read_feedback(const struct mime *m, uint32_t part, struct report_read *out) {
    struct buf fields = {0}, original = {0};
    if (mime_decode_body(m, part, &fields) != 0) buf_add_slice(&fields, mime_body(m, part));
    add_original(m, &original);
    out->report = dmarc_failure_read(buf_slice(&fields), buf_slice(&original), out->why);
    out->kind = out->report ? REPORT_FAILURE : REPORT_UNREADABLE;
    if (out->report) {
        const char *domain = json_string_value(json_object_get(out->report, "reported_domain"));
        if (domain) take_domain(out, domain);
        const json_t *incidents = json_object_get(out->report, "incidents");
        out->failed = incidents ? json_integer_value(incidents) : 1;
        if (out->kind == REPORT_UNREADABLE) report_read_free(out);
    }
    buf_free(&fields);
    buf_free(&original);
}

/* Makes a reason, which may quote the report, safe to print and to write as JSON. */
static void make_printable(char *why) {
    for (; *why; why++)
        if ((unsigned char)*why < ' ' || (unsigned char)*why >= 0x7f) *why = '?';
}

void report_read_mail(struct slice message, struct report_read *out) {
    struct arena *arena = arena_create();
    struct mime *m = mime_parse(arena, message);
    int tried = 0;
    memset(out, 0, sizeof *out);
    refuse(out, "no part of the mail is a report");
    for (uint32_t i = 0; i < m->count && tried < PARTS_TRIED_MAX && !out->report; i++) {
        if (is_type(&m->parts[i], "message", "feedback-report")) {
            read_feedback(m, i, out);
            break;
        }
        if (m->parts[i].is_multipart || m->parts[i].is_message || !is_candidate(arena, m, i)) continue;
        struct buf bytes = {0};
        tried++;
        if (mime_decode_body(m, i, &bytes) != 0)
            refuse(out, "the transfer encoding of the report is unknown");
        else
            read_packed(buf_slice(&bytes), out);
        buf_free(&bytes);
    }
    make_printable(out->why);
    arena_destroy(arena);
}

void report_read_file(struct slice bytes, struct report_read *out) {
    struct slice text = slice_trim(bytes);
    memset(out, 0, sizeof *out);
    if (slice_starts(text, SLICE("\xef\xbb\xbf"))) text = slice_skip(text, 3);
    bool packed = slice_starts(bytes, SLICE("\x1f\x8b")) || slice_starts(bytes, SLICE("PK\x03\x04"));
    if (packed || (text.n && (text.p[0] == '<' || text.p[0] == '{' || (unsigned char)text.p[0] >= 0xfe)))
        read_packed(bytes, out);
    else
        report_read_mail(bytes, out);
    make_printable(out->why);
}
