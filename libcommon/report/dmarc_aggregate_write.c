/* The XML of RFC 9990 Appendix A, elements in the order of its schema. */
#include "libcommon/report/dmarc_aggregate.h"

#include <stdio.h>

static const char namespace[] = "urn:ietf:params:xml:ns:dmarc-2.0";

/* Text as XML 1.0 allows it (§2.2, §2.4): markup escaped, control characters as spaces. */
static void add_text(struct buf *out, const char *text) {
    for (const char *c = text; *c; c++) {
        switch (*c) {
        case '&': buf_add_str(out, "&amp;"); break;
        case '<': buf_add_str(out, "&lt;"); break;
        case '>': buf_add_str(out, "&gt;"); break;
        default: buf_add_char(out, (unsigned char)*c < ' ' || *c == 0x7f ? ' ' : *c);
        }
    }
}

static void add_element(struct buf *out, int indent, const char *name, const char *text) {
    buf_printf(out, "%*s<%s>", indent, "", name);
    add_text(out, text);
    buf_printf(out, "</%s>\n", name);
}

/* A member of the object as an element, where it is there; must: an empty element where it is
 * not. */
static void add_member(struct buf *out, int indent, const char *name, const json_t *object, const char *member,
                       bool must) {
    const json_t *value = json_object_get(object, member);
    char number[24];
    if (json_is_integer(value)) {
        snprintf(number, sizeof number, "%lld", json_integer_value(value));
        add_element(out, indent, name, number);
    } else if (json_is_string(value)) {
        add_element(out, indent, name, json_string_value(value));
    } else if (must) {
        add_element(out, indent, name, "");
    }
}

static void add_metadata(struct buf *out, const json_t *report) {
    size_t i;
    json_t *error;
    buf_add_str(out, "  <report_metadata>\n");
    add_member(out, 4, "org_name", report, "org", true);
    add_member(out, 4, "email", report, "email", true);
    add_member(out, 4, "extra_contact_info", report, "extra_contact", false);
    add_member(out, 4, "report_id", report, "report_id", true);
    buf_add_str(out, "    <date_range>\n");
    add_member(out, 6, "begin", report, "begin", true);
    add_member(out, 6, "end", report, "end", true);
    buf_add_str(out, "    </date_range>\n");
    json_array_foreach(json_object_get(report, "errors"), i, error) if (json_is_string(error))
        add_element(out, 4, "error", json_string_value(error));
    add_member(out, 4, "generator", report, "generator", false);
    buf_add_str(out, "  </report_metadata>\n");
}

static void add_policy(struct buf *out, const json_t *policy) {
    static const char *const members[] = {"discovery_method", "p", "sp", "np", "fo", "adkim", "aspf", "testing"};
    buf_add_str(out, "  <policy_published>\n");
    add_member(out, 4, "domain", policy, "domain", true);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        add_member(out, 4, members[i], policy, members[i], false);
    buf_add_str(out, "  </policy_published>\n");
}

static void add_record(struct buf *out, const json_t *record) {
    size_t i;
    json_t *each;
    buf_add_str(out, "  <record>\n    <row>\n");
    add_member(out, 6, "source_ip", record, "source_ip", true);
    add_member(out, 6, "count", record, "count", true);
    buf_add_str(out, "      <policy_evaluated>\n");
    add_member(out, 8, "disposition", record, "disposition", true);
    add_member(out, 8, "dkim", record, "dkim", true);
    add_member(out, 8, "spf", record, "spf", true);
    json_array_foreach(json_object_get(record, "reasons"), i, each) {
        buf_add_str(out, "        <reason>\n");
        add_member(out, 10, "type", each, "type", true);
        add_member(out, 10, "comment", each, "comment", false);
        buf_add_str(out, "        </reason>\n");
    }
    buf_add_str(out, "      </policy_evaluated>\n    </row>\n    <identifiers>\n");
    add_member(out, 6, "header_from", record, "header_from", true);
    add_member(out, 6, "envelope_from", record, "envelope_from", false);
    add_member(out, 6, "envelope_to", record, "envelope_to", false);
    buf_add_str(out, "    </identifiers>\n    <auth_results>\n");
    json_array_foreach(json_object_get(record, "auth_dkim"), i, each) {
        buf_add_str(out, "      <dkim>\n");
        add_member(out, 8, "domain", each, "domain", true);
        add_member(out, 8, "selector", each, "selector", true);
        add_member(out, 8, "result", each, "result", true);
        add_member(out, 8, "human_result", each, "human_result", false);
        buf_add_str(out, "      </dkim>\n");
    }
    json_array_foreach(json_object_get(record, "auth_spf"), i, each) {
        buf_add_str(out, "      <spf>\n");
        add_member(out, 8, "domain", each, "domain", true);
        add_member(out, 8, "scope", each, "scope", false);
        add_member(out, 8, "result", each, "result", true);
        add_member(out, 8, "human_result", each, "human_result", false);
        buf_add_str(out, "      </spf>\n");
    }
    buf_add_str(out, "    </auth_results>\n  </record>\n");
}

void dmarc_aggregate_write(const json_t *report, struct buf *xml) {
    size_t i;
    json_t *record;
    buf_printf(xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback xmlns=\"%s\">\n  <version>1.0</version>\n",
               namespace); /* §3.1.1.2 */
    add_metadata(xml, report);
    add_policy(xml, json_object_get(report, "policy"));
    json_array_foreach(json_object_get(report, "records"), i, record) add_record(xml, record);
    buf_add_str(xml, "</feedback>\n");
}

void dmarc_aggregate_totals(const json_t *report, json_int_t *messages, json_int_t *passed) {
    size_t i;
    json_t *record;
    *messages = *passed = 0;
    json_array_foreach(json_object_get(report, "records"), i, record) {
        const char *dkim = json_string_value(json_object_get(record, "dkim")),
                   *spf = json_string_value(json_object_get(record, "spf"));
        json_int_t n = json_integer_value(json_object_get(record, "count"));
        if (n > INT32_MAX) n = INT32_MAX; /* a sum of these cannot overflow */
        *messages += n;
        if ((dkim && strcmp(dkim, "pass") == 0) || (spf && strcmp(spf, "pass") == 0)) *passed += n;
    }
}
