/* Whether the destination of reports about a domain accepts them (RFC 9990 §4; the same for failure
 * reports, RFC 9991 §5): always within the domain's organization, otherwise if
 * `<domain>._report._dmarc.<host>` permits it. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/member.h"
#include "libcommon/trust/tags.h"
#include "services/reporter/reporter.h"

struct check {
    struct reporter *reporter;
    char domain[DOMAIN_BYTES], host[DOMAIN_BYTES], tag[8];
    destination_fn *done;
    void *ctx;
};

static void finish(struct check *c, enum destination answer, const char *instead) {
    destination_fn *done = c->done;
    void *ctx = c->ctx;
    free(c);
    done(ctx, answer, instead);
}

/* Reads one TXT record: -1 when it is not such a record (step 6). *uris: the value of the tag for
 * the kind of report, "" when there is none. */
static int read_record(const char *text, const char *tag, struct slice *uris) {
    struct slice rest = slice_of(text);
    struct tag each;
    bool first = true;
    *uris = SLICE("");
    for (int got; (got = tag_next(&rest, &each)) != 0; first = false) {
        if (got < 0 || (first && (!slice_is(each.name, "v") || !slice_is(each.value, "DMARC1")))) return -1;
        if (slice_is(each.name, tag)) *uris = each.value;
    }
    return first ? -1 : 0;
}

static void on_records(void *ctx, int error, const json_t *reply) {
    struct check *c = ctx;
    const char *result = member_text_or_null(reply, "result");
    char instead[ADDRESS_BYTES_MAX] = "";
    bool confirmed = false, elsewhere = false;
    size_t i;
    json_t *text;
    if (error || !result || strcmp(result, "failed") == 0) { /* step 5 */
        finish(c, DESTINATION_UNKNOWN, "");
        return;
    }
    json_array_foreach(json_object_get(reply, "records"), i, text) {
        struct slice uris;
        struct report_uri uri;
        if (!json_is_string(text) || read_record(json_string_value(text), c->tag, &uris) != 0) continue;
        confirmed = true; /* step 8 */
        if (!uris.n || *instead) continue;
        if (report_uri_next(&uris, &uri) && uri.scheme == REPORT_MAILTO && strcasecmp(uri.host, c->host) == 0)
            snprintf(instead, sizeof instead, "%s", uri.address); /* step 9 */
        else
            elsewhere = true; /* another host: neither address may be used */
    }
    finish(c, confirmed && !elsewhere ? DESTINATION_OK : DESTINATION_REFUSED, instead);
}

static void on_organizations(void *ctx, enum organizations answer) {
    struct check *c = ctx;
    char name[2 * DOMAIN_BYTES + 32];
    snprintf(name, sizeof name, "%s._report._dmarc.%s", c->domain, c->host);
    if (answer == ORGANIZATIONS_SAME)
        finish(c, DESTINATION_OK, "");
    else if (answer == ORGANIZATIONS_UNKNOWN)
        finish(c, DESTINATION_UNKNOWN, "");
    else if (strlen(name) > 253) /* step 4 */
        finish(c, DESTINATION_REFUSED, "");
    else
        bus_request(c->reporter->worker->bus, "verifier.txt", json_pack("{s:s}", "name", name), ASK_MS, on_records, c);
}

void destination_check(struct reporter *r, const char *policy_domain, const struct report_uri *uri, const char *tag,
                       destination_fn *done, void *ctx) {
    struct check *c = memory_alloc(sizeof *c);
    c->reporter = r;
    c->done = done;
    c->ctx = ctx;
    snprintf(c->domain, sizeof c->domain, "%s", policy_domain);
    snprintf(c->host, sizeof c->host, "%s", uri->host);
    snprintf(c->tag, sizeof c->tag, "%s", tag);
    organization_compare(r, c->domain, c->host, on_organizations, c);
}
