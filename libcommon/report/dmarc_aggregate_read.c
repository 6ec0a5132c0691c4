/* Reads the XML with expat. Each element is one row of a table: its path below <feedback>, the
 * object to which it belongs and the member that it becomes. */
#include <ctype.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/report/dmarc_aggregate.h"

enum { PATH_MAX_BYTES = 512, NAME_MAX_BYTES = 64 };

enum target { REPORT, POLICY, RECORD, REASON, DKIM, SPF, TARGETS };
enum kind { TEXT, WORD, NUMBER, ERROR }; /* WORD: in lower case */

static const struct rule {
    const char *path;
    enum target target;
    const char *member;
    enum kind kind;
} rules[] = {
    {"feedback/version", REPORT, "version", TEXT},
    {"feedback/report_metadata/org_name", REPORT, "org", TEXT},
    {"feedback/report_metadata/email", REPORT, "email", TEXT},
    {"feedback/report_metadata/extra_contact_info", REPORT, "extra_contact", TEXT},
    {"feedback/report_metadata/report_id", REPORT, "report_id", TEXT},
    {"feedback/report_metadata/date_range/begin", REPORT, "begin", NUMBER},
    {"feedback/report_metadata/date_range/end", REPORT, "end", NUMBER},
    {"feedback/report_metadata/generator", REPORT, "generator", TEXT},
    {"feedback/report_metadata/error", REPORT, NULL, ERROR},
    {"feedback/policy_published/domain", POLICY, "domain", WORD},
    {"feedback/policy_published/p", POLICY, "p", WORD},
    {"feedback/policy_published/sp", POLICY, "sp", WORD},
    {"feedback/policy_published/np", POLICY, "np", WORD},
    {"feedback/policy_published/adkim", POLICY, "adkim", WORD},
    {"feedback/policy_published/aspf", POLICY, "aspf", WORD},
    {"feedback/policy_published/pct", POLICY, "pct", NUMBER},
    {"feedback/policy_published/fo", POLICY, "fo", WORD},
    {"feedback/policy_published/testing", POLICY, "testing", WORD},
    {"feedback/policy_published/discovery_method", POLICY, "discovery_method", WORD},
    {"feedback/record/row/source_ip", RECORD, "source_ip", WORD},
    {"feedback/record/row/count", RECORD, "count", NUMBER},
    {"feedback/record/row/policy_evaluated/disposition", RECORD, "disposition", WORD},
    {"feedback/record/row/policy_evaluated/dkim", RECORD, "dkim", WORD},
    {"feedback/record/row/policy_evaluated/spf", RECORD, "spf", WORD},
    {"feedback/record/row/policy_evaluated/reason/type", REASON, "type", WORD},
    {"feedback/record/row/policy_evaluated/reason/comment", REASON, "comment", TEXT},
    {"feedback/record/identifiers/header_from", RECORD, "header_from", WORD},
    {"feedback/record/identifiers/envelope_from", RECORD, "envelope_from", WORD},
    {"feedback/record/identifiers/envelope_to", RECORD, "envelope_to", WORD},
    {"feedback/record/identities/header_from", RECORD, "header_from", WORD}, /* its name in drafts before RFC 7489 */
    {"feedback/record/auth_results/dkim/domain", DKIM, "domain", WORD},
    {"feedback/record/auth_results/dkim/selector", DKIM, "selector", TEXT},
    {"feedback/record/auth_results/dkim/result", DKIM, "result", WORD},
    {"feedback/record/auth_results/dkim/human_result", DKIM, "human_result", TEXT},
    {"feedback/record/auth_results/spf/domain", SPF, "domain", WORD},
    {"feedback/record/auth_results/spf/scope", SPF, "scope", WORD},
    {"feedback/record/auth_results/spf/result", SPF, "result", WORD},
    {"feedback/record/auth_results/spf/human_result", SPF, "human_result", TEXT},
};

/* Elements that begin an object in a list of the record. */
static const struct list_rule {
    const char *path, *list;
    enum target target;
} lists[] = {
    {"feedback/record/row/policy_evaluated/reason", "reasons", REASON},
    {"feedback/record/auth_results/dkim", "auth_dkim", DKIM},
    {"feedback/record/auth_results/spf", "auth_spf", SPF},
};

struct reader {
    XML_Parser parser;
    json_t *report, *records;
    json_t *objects[TARGETS]; /* the objects that get members at present; NULL: none. Borrowed */
    char path[PATH_MAX_BYTES];
    size_t path_n, depth, elements, lost; /* lost: levels that did not fit into the path */
    json_int_t cut;
    struct buf text;
    char *why;
    bool failed;
};

static void refuse(struct reader *r, const char *why) {
    if (r->failed) return;
    r->failed = true;
    snprintf(r->why, 160, "%s", why);
    XML_StopParser(r->parser, XML_FALSE);
}

static const char *local_name(const char *name) {
    const char *colon = strrchr(name, ':');
    return colon ? colon + 1 : name;
}

static void begin_object(struct reader *r) {
    if (strcmp(r->path, "feedback/record") == 0) {
        for (int t = RECORD; t < TARGETS; t++) r->objects[t] = NULL;
        if (json_array_size(r->records) >= AGGREGATE_RECORDS_MAX) {
            r->cut++;
            return;
        }
        r->objects[RECORD] = json_object();
        json_array_append_new(r->records, r->objects[RECORD]);
        return;
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if (strcmp(r->path, lists[i].path) != 0) continue;
        r->objects[lists[i].target] = NULL;
        json_t *list = json_object_get(r->objects[RECORD], lists[i].list);
        if (!r->objects[RECORD] || json_array_size(list) >= AGGREGATE_LIST_MAX) return;
        if (!list) {
            list = json_array();
            json_object_set_new(r->objects[RECORD], lists[i].list, list);
        }
        r->objects[lists[i].target] = json_object();
        json_array_append_new(list, r->objects[lists[i].target]);
        return;
    }
}

static void on_start(void *ctx, const char *full_name, const char **attributes) {
    struct reader *r = ctx;
    const char *name = local_name(full_name);
    size_t n = strlen(name);
    (void)attributes;
    if (++r->depth > AGGREGATE_DEPTH_MAX) {
        refuse(r, "the XML is nested too deep");
        return;
    }
    if (++r->elements > AGGREGATE_ELEMENTS_MAX) {
        refuse(r, "the XML has too many elements");
        return;
    }
    if (r->depth == 1 && strcmp(name, "feedback") != 0) {
        refuse(r, "the XML is not a DMARC report: its root is not <feedback>");
        return;
    }
    buf_reset(&r->text);
    if (r->lost || n > NAME_MAX_BYTES || r->path_n + n + 2 > sizeof r->path) {
        r->lost++;
        return;
    }
    if (r->path_n) r->path[r->path_n++] = '/';
    memcpy(r->path + r->path_n, name, n + 1);
    r->path_n += n;
    begin_object(r);
}

static void on_text(void *ctx, const char *bytes, int n) {
    struct reader *r = ctx;
    if (r->text.n < AGGREGATE_TEXT_MAX) buf_add(&r->text, bytes, (size_t)n);
}

/* Cut between characters. */
static struct slice bounded(struct slice s) {
    if (s.n <= AGGREGATE_TEXT_MAX) return s;
    s.n = AGGREGATE_TEXT_MAX;
    while (s.n && ((unsigned char)s.p[s.n] & 0xc0) == 0x80) s.n--;
    return s;
}

static void take(struct reader *r, const struct rule *rule, struct slice text) {
    json_t *object = r->objects[rule->target];
    uint64_t number;
    if (rule->kind == ERROR) {
        json_t *errors = json_object_get(r->report, "errors");
        if (json_array_size(errors) < AGGREGATE_LIST_MAX) json_array_append_new(errors, json_stringn(text.p, text.n));
    } else if (!object || !text.n) {
        return;
    } else if (rule->kind == NUMBER) {
        ptrdiff_t dot = slice_find(text, '.'); /* some senders write 1504742400.0 */
        if (dot > 0) text.n = (size_t)dot;
        if (slice_to_u64(text, INT64_MAX, &number) == 0)
            json_object_set_new(object, rule->member, json_integer((json_int_t)number));
    } else {
        if (rule->kind == WORD)
            for (char *c = (char *)(uintptr_t)text.p; c < text.p + text.n; c++)
                *c = (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c);
        json_object_set_new(object, rule->member, json_stringn(text.p, text.n));
    }
}

static void on_end(void *ctx, const char *name) {
    struct reader *r = ctx;
    (void)name;
    r->depth--;
    if (r->lost) {
        r->lost--;
        return;
    }
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcmp(r->path, rules[i].path) == 0) take(r, &rules[i], slice_trim(bounded(buf_slice(&r->text))));
    buf_reset(&r->text);
    char *slash = strrchr(r->path, '/');
    r->path_n = slash ? (size_t)(slash - r->path) : 0;
    r->path[r->path_n] = 0;
}

static void on_doctype(void *ctx, const char *name, const char *system, const char *public, int internal) {
    (void)name, (void)system, (void)public, (void)internal;
    refuse(ctx, "the XML has a document type declaration, which is refused");
}

/* Encodings that expat does not support are read as ISO 8859-1: in all encodings in use, the names
 * and numbers of a report are ASCII. */
static int on_encoding(void *ctx, const char *name, XML_Encoding *info) {
    (void)ctx;
    if (strncasecmp(name, "windows-", 8) != 0 && strncasecmp(name, "iso-8859-", 9) != 0) return XML_STATUS_ERROR;
    for (int i = 0; i < 256; i++) info->map[i] = i;
    info->data = NULL;
    info->convert = NULL;
    info->release = NULL;
    return XML_STATUS_OK;
}

/* Checks for required members and sets defaults of missing ones. 0 or -1. */
static int complete(struct reader *r) {
    size_t i;
    json_t *record;
    const json_t *begin = json_object_get(r->report, "begin"), *end = json_object_get(r->report, "end");
    if (!json_object_get(json_object_get(r->report, "policy"), "domain")) {
        snprintf(r->why, 160, "the report does not name the domain of the policy");
        return -1;
    }
    if (!begin || !end || json_integer_value(begin) > json_integer_value(end)) {
        snprintf(r->why, 160, "the report has no date range");
        return -1;
    }
    if (!json_object_get(r->report, "org")) json_object_set_new(r->report, "org", json_string(""));
    json_array_foreach(r->records, i, record) {
        if (!json_object_get(record, "source_ip")) json_object_set_new(record, "source_ip", json_string(""));
        if (!json_object_get(record, "count")) json_object_set_new(record, "count", json_integer(1));
    }
    if (json_array_size(json_object_get(r->report, "errors")) == 0) json_object_del(r->report, "errors");
    if (r->cut) json_object_set_new(r->report, "records_cut", json_integer(r->cut));
    return 0;
}

json_t *dmarc_aggregate_read(struct slice xml, char why[160]) {
    struct reader r = {.parser = XML_ParserCreate(NULL), .report = json_object(), .records = json_array(), .why = why};
    if (!r.parser) memory_exhausted();
    why[0] = 0;
    json_object_set_new(r.report, "records", r.records);
    json_object_set_new(r.report, "errors", json_array());
    json_object_set_new(r.report, "policy", json_object());
    r.objects[REPORT] = r.report;
    r.objects[POLICY] = json_object_get(r.report, "policy");
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    XML_SetUnknownEncodingHandler(r.parser, on_encoding, NULL);
    xml = slice_trim(xml);
    if (!xml.n || xml.n > INT32_MAX) {
        snprintf(why, 160, "the report is empty or too large");
        r.failed = true;
    } else if (XML_Parse(r.parser, xml.p, (int)xml.n, 1) == XML_STATUS_ERROR && !r.failed) {
        snprintf(why, 160, "the XML is malformed in line %llu: %.90s",
                 (unsigned long long)XML_GetCurrentLineNumber64(r.parser), XML_ErrorString(XML_GetErrorCode(r.parser)));
        r.failed = true;
    }
    XML_ParserFree(r.parser);
    buf_free(&r.text);
    if (r.failed || complete(&r) != 0) {
        json_decref(r.report);
        return NULL;
    }
    return r.report;
}
