/* Failure reports (RFC 9991, RFC 6591), if the site sends them: immediately, with a limit for each
 * hour and domain, and without any part of the message that identifies a person: no text, no
 * addresses, no subject. A report that cannot be sent immediately is dropped. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "libcommon/report/dmarc_failure.h"
#include "libcommon/report/report_mail.h"
#include "services/reporter/fact.h"
#include "services/reporter/reporter.h"

struct failure {
    struct reporter *reporter;
    char about[ULID_BYTES], id[ULID_BYTES], domain[DOMAIN_BYTES];
    struct report_uri uri;
    struct buf fields, header;
};

static void finish(struct failure *f) {
    struct reporter *r = f->reporter;
    buf_free(&f->fields);
    buf_free(&f->header);
    free(f);
    r->failures--;
    reporter_check_drained(r);
}

static void on_recorded(void *ctx, int error, long long value) {
    (void)error, (void)value;
    finish(ctx);
}

static void on_committed(void *ctx, int error) {
    struct failure *f = ctx;
    char at[CLOCK_TEXT_BYTES];
    if (error) {
        finish(f);
        return;
    }
    int64_t when = ulid_ms(f->about) / 1000;
    metric_add(&reporter_sent, 1);
    log_info("failure report sent", "about", f->about, "domain", f->domain, "to", f->uri.address, NULL);
    report_failure_sent(f->reporter->worker->redis, f->id,
                        json_pack("{s:s,s:s,s:I,s:I,s:s,s:s,s:s,s:s,s:i,s:s}", "kind", "failure", "domain", f->domain,
                                  "begin", (json_int_t)when, "end", (json_int_t)when, "report_id", f->id, "to",
                                  f->uri.address, "result", "sent", "reason", "", "messages", 1, "at",
                                  clock_rfc3339(clock_wall_ms(), at)),
                        on_recorded, f);
}

static void on_letter(void *ctx, struct letter *l, enum letter_state state) {
    struct failure *f = ctx;
    if (state == LETTER_READY) {
        letter_commit(l, on_committed, f);
    } else {
        letter_destroy(l);
        finish(f);
    }
}

static void write_letter(struct failure *f) {
    const struct settings *s = &f->reporter->settings;
    struct buf text = {0};
    struct report_mail m = {.from = s->from,
                            .to = f->uri.address,
                            .id = f->id,
                            .host = f->reporter->worker->hostname,
                            .submitter = s->submitter,
                            .domain = f->domain,
                            .report_id = f->id,
                            .now_ms = clock_wall_ms()};
    report_mail_failure(&m, buf_slice(&f->fields), buf_slice(&f->header), &text);
    letter_prepare(f->reporter, f->id, f->uri.address, &text, on_letter, f);
}

static void on_allowed(void *ctx, int error, long long value) {
    struct failure *f = ctx;
    if (error || value != 1)
        finish(f); /* sent before, or the limit is reached */
    else
        write_letter(f);
}

static void on_checked(void *ctx, enum destination answer, const char *instead) {
    struct failure *f = ctx;
    if (answer != DESTINATION_OK) {
        finish(f);
        return;
    }
    if (*instead) snprintf(f->uri.address, sizeof f->uri.address, "%s", instead);
    report_failure_allowed(f->reporter->worker->redis, f->domain, ulid_ms(f->about) / 3600000, f->about,
                           FAILURES_AN_HOUR, on_allowed, f);
}

/* RFC 9991 §4: which identities were aligned. */
static const char *alignment(const json_t *dmarc) {
    bool dkim = json_is_true(json_object_get(dmarc, "dkim_aligned")),
         spf = json_is_true(json_object_get(dmarc, "spf_aligned"));
    return dkim && spf ? "dkim, spf" : dkim ? "dkim" : spf ? "spf" : "none";
}

static void describe(struct failure *f, const json_t *data, bool refused) {
    const json_t *verdict = json_object_get(data, "verdict"), *dmarc = json_object_get(verdict, "dmarc"),
                 *client = json_object_get(data, "client"),
                 *signature = json_array_get(json_object_get(verdict, "dkim"), 0),
                 *spf = json_object_get(verdict, "spf");
    char when[CLOCK_TEXT_BYTES], results[1024];
    const char *from = member_text(data, "from"), *at = strrchr(from, '@'),
               *delivery = refused ? "reject" : "delivered";
    if (!refused && strcmp(member_text(dmarc, "disposition"), "quarantine") == 0)
        delivery = "spam"; /* RFC 6591 §3.2.2 */
    snprintf(results, sizeof results, "%s; dmarc=%.16s header.from=%.255s; spf=%.16s smtp.mailfrom=%.255s",
             f->reporter->worker->hostname, member_text(dmarc, "result"), member_text(dmarc, "from"),
             *member_text(spf, "result") ? member_text(spf, "result") : "none", at ? at + 1 : "");
    json_t *report = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i}", "feedback_type", "auth-failure", "user_agent", "Postbus",
        "version", "1", "auth_failure", "dmarc", "identity_alignment", alignment(dmarc), "delivery_result", delivery,
        "arrival_date", clock_rfc5322(ulid_ms(f->about), when), "source_ip", member_text(client, "ip"),
        "reported_domain", member_text(dmarc, "from"), "authentication_results", results, "incidents", 1);
    if (*member_text(signature, "domain")) {
        json_object_set(report, "dkim_domain", json_object_get(signature, "domain"));
        json_object_set(report, "dkim_selector", json_object_get(signature, "selector"));
    }
    dmarc_failure_write(report, &f->fields);
    json_decref(report);
    buf_printf(&f->header, "From: <redacted@%.255s>\r\n",
               member_text(dmarc, "from")); /* RFC 6590: the local part is private */
    if (*member_text(data, "message_id"))
        buf_printf(&f->header, "Message-ID: %.250s\r\n", member_text(data, "message_id"));
}

void failure_consider(struct reporter *r, const char *id, const json_t *data, bool refused) {
    const json_t *dmarc = json_object_get(json_object_get(data, "verdict"), "dmarc");
    struct report_uri uri;
    char name[ULID_BYTES + ADDRESS_BYTES_MAX];
    struct slice ruf = slice_of(member_text(json_object_get(dmarc, "published"), "ruf"));
    if (!fact_wants_failure_report(data, refused) || r->failures >= FAILURES_AT_ONCE || r->draining) return;
    if (!report_uri_next(&ruf, &uri) || uri.scheme != REPORT_MAILTO)
        return; /* one address is enough for a report that is only a hint */
    struct failure *f = memory_alloc(sizeof *f);
    f->reporter = r;
    f->uri = uri;
    snprintf(f->about, sizeof f->about, "%s", id);
    snprintf(f->domain, sizeof f->domain, "%.255s", member_text(dmarc, "record_domain"));
    snprintf(name, sizeof name, "%s %s", id, uri.address);
    report_ulid(ulid_ms(id), name, f->id);
    describe(f, data, refused);
    r->failures++;
    destination_check(r, f->domain, &f->uri, "ruf", on_checked, f);
}
