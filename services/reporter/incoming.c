/* reporter.take: a mail to a report address, passed on by delivery. It is read on a pool thread (an
 * archive can contain 32 MiB of XML) and stored once, even if the request is repeated. A mail that
 * cannot be read is stored too, with the reason. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "libcommon/mail/header.h"
#include "libcommon/report/report_read.h"
#include "libcommon/store/blob.h"
#include "libcommon/trust/verdict/results_read.h"
#include "services/reporter/reporter.h"

enum { DIGEST_BYTES = 33 };

struct incoming {
    struct reporter *reporter;
    struct bus_call *call;
    char id[ULID_BYTES], rcpt[ADDRESS_BYTES_MAX], from[ADDRESS_BYTES_MAX];
    struct buf message;
    struct report_read read;
    char authenticated[16]; /* this site's DMARC result for the mail, "" when there is none */
    char author[256];       /* the domain that it is about */
    char digest[DIGEST_BYTES];
    json_t *listing;
    struct arena *arena;
    struct report_summary_row *rows;
    size_t row_count;
};

static void finish(struct incoming *in) {
    struct reporter *r = in->reporter;
    report_read_free(&in->read);
    json_decref(in->listing);
    buf_free(&in->message);
    arena_destroy(in->arena);
    free(in);
    r->incoming--;
    reporter_check_drained(r);
}

/* The fields that lists show. */
static void make_listing(struct incoming *in) {
    const struct report_read *read = &in->read;
    char received[CLOCK_TEXT_BYTES];
    bool tls = read->kind == REPORT_TLS;
    in->listing =
        json_pack("{s:s,s:s,s:s,s:s,s:s}", "domain", read->domain, "received", clock_rfc3339(ulid_ms(in->id), received),
                  "from", in->from, "to", in->rcpt, "authenticated", in->authenticated);
    if (!read->report) {
        json_object_set_new(in->listing, "reason", json_string(read->why));
        return;
    }
    json_object_set_new(in->listing, "passed", json_integer(read->passed));
    json_object_set_new(in->listing, "failed", json_integer(read->failed));
    if (read->kind == REPORT_FAILURE) {
        json_object_set_new(in->listing, "source_ip", json_string(member_text(read->report, "source_ip")));
        return;
    }
    json_object_set_new(in->listing, "org", json_string(member_text(read->report, tls ? "organization-name" : "org")));
    json_object_set_new(in->listing, "report_id",
                        json_string(member_text(read->report, tls ? "report-id" : "report_id")));
    json_object_set_new(in->listing, "begin", json_integer(read->begin));
    json_object_set_new(in->listing, "end", json_integer(read->end));
}

/* A digest that is the same for the same report in another mail (RFC 9990 §3.5.4): of its
 * organization, domain and identifier, and of its sender if that was authenticated, so that nobody
 * can displace a report by guessing its identifier. */
static void make_digest(struct incoming *in) {
    const char *id = member_text(in->listing, "report_id"), *org = member_text(in->listing, "org");
    unsigned char digest[16];
    if (!*id) return;
    char *all =
        arena_printf(in->arena, "%s|%s|%s|%s|%lld|%s", report_kind_text(in->read.kind), org, id, in->read.domain,
                     (long long)in->read.begin, strcmp(in->authenticated, "pass") == 0 ? in->author : "");
    crypto_generichash(digest, sizeof digest, (const unsigned char *)all, strlen(all), NULL, 0);
    sodium_bin2hex(in->digest, sizeof in->digest, digest, sizeof digest);
}

/* A word of a row, without separators. */
static const char *word(struct incoming *in, const json_t *record, const char *name) {
    char *copy = arena_copy(in->arena, slice_head(slice_of(member_text(record, name)), 64));
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c <= ' ') *c = '_';
    return *copy ? copy : "-";
}

/* The rows that a DMARC report adds to its domain's summary. */
static void make_summary(struct incoming *in) {
    size_t i;
    json_t *record;
    if (in->read.kind != REPORT_DMARC) return;
    in->rows = arena_alloc(in->arena, REPORT_SUMMARY_MAX * sizeof *in->rows);
    json_array_foreach(json_object_get(in->read.report, "records"), i, record) {
        bool last = in->row_count >= REPORT_SUMMARY_MAX - 1;
        const char *row =
            last ? "+"
                 : arena_printf(in->arena, "%s %s %s %s", word(in, record, "source_ip"), word(in, record, "dkim"),
                                word(in, record, "spf"), word(in, record, "disposition"));
        json_int_t n = json_integer_value(json_object_get(record, "count"));
        if (n > INT32_MAX) n = INT32_MAX;
        if (last && in->row_count == REPORT_SUMMARY_MAX)
            in->rows[in->row_count - 1].messages += n;
        else
            in->rows[in->row_count++] = (struct report_summary_row){row, n};
    }
}

/* The DMARC result in the Authentication-Results field that this site added: it is above this
 * site's Received field, so no one else can have written it. */
static void find_verdict(struct incoming *in, struct slice message) {
    struct header_field f;
    struct results_one one;
    size_t body_at, at = 0;
    struct slice header = header_block(message, &body_at), id;
    while (header_next(header, &at, &f) == 1 && !slice_is_nocase(f.name, "Received")) {
        struct slice value = f.value;
        if (!slice_is_nocase(f.name, "Authentication-Results") || results_authserv_id(in->arena, &value, &id) != 0 ||
            !slice_is_nocase(id, in->reporter->worker->hostname))
            continue;
        while (results_next(in->arena, &value, &one) == 1) {
            if (!slice_is_nocase(one.method, "dmarc")) continue;
            snprintf(in->authenticated, sizeof in->authenticated, "%.*s", SLICE_FMT(one.result));
            snprintf(in->author, sizeof in->author, "%.*s", SLICE_FMT(results_property(&one, "header", "from")));
        }
        return;
    }
}

static void read_message(void *job) { /* on a pool thread */
    struct incoming *in = job;
    report_read_mail(buf_slice(&in->message), &in->read);
    find_verdict(in, buf_slice(&in->message));
    make_listing(in);
    make_digest(in);
    make_summary(in);
}

static void on_kept(void *ctx, int error, long long value) {
    struct incoming *in = ctx;
    struct reporter *r = in->reporter;
    if (error) {
        bus_refuse(in->call, "unavailable", "the report cannot be stored now");
        finish(in);
        return;
    }
    if (value == REPORT_KEPT) {
        metric_add(in->read.report ? &reporter_kept : &reporter_unreadable, 1);
        log_info(in->read.report ? "report received" : "no report can be read", "id", in->id, "kind",
                 report_kind_text(in->read.kind), "domain", in->read.domain, "from", in->from, "reason", in->read.why,
                 NULL);
        bus_publish(r->worker->bus, "report.received", slice_of(in->id),
                    json_pack("{s:s,s:s,s:s,s:I,s:I,s:s}", "kind", report_kind_text(in->read.kind), "domain",
                              in->read.domain, "org", member_text(in->listing, "org"), "passed", in->read.passed,
                              "failed", in->read.failed, "reason", in->read.why));
    }
    bus_answer(in->call,
               json_pack("{s:s,s:b}", "kind", report_kind_text(in->read.kind), "duplicate", value != REPORT_KEPT));
    finish(in);
}

static void message_read(void *job) {
    struct incoming *in = job;
    int64_t today = clock_wall_ms() / 86400000;
    struct report_kept kept = {.id = slice_of(in->id),
                               .kind = report_kind_text(in->read.kind),
                               .domain = in->read.domain,
                               .digest = in->digest,
                               .listing = in->listing,
                               .report = in->read.report,
                               .day = (in->read.begin ? in->read.begin : ulid_ms(in->id) / 1000) / 86400,
                               .summary = in->rows,
                               .summary_count = in->row_count};
    /* reports about a day that is no longer stored, or in the future, are not added to the
     * summary */
    if (kept.day > today + 1 || kept.day < today - in->reporter->settings.keep_days) kept.summary_count = 0;
    report_keep(in->reporter->worker->redis, &kept, on_kept, in);
}

static void on_message(void *ctx, int error, struct slice message) {
    struct incoming *in = ctx;
    if (error) {
        bus_refuse(in->call, "unavailable", "the message cannot be read now");
        finish(in);
        return;
    }
    buf_add_slice(&in->message, message);
    service_offload(in->reporter->worker, read_message, message_read, in);
}

static void on_take(void *ctx, struct bus_call *call, const json_t *ask) {
    struct reporter *r = ctx;
    const char *id = member_text(ask, "id");
    if (!ulid_is_valid(slice_of(id))) {
        bus_refuse(call, "invalid", "id must be a message id");
        return;
    }
    if (r->incoming >= INCOMING_MAX || r->draining) {
        bus_refuse(call, "busy", "too many reports are being read");
        return;
    }
    struct incoming *in = memory_alloc(sizeof *in);
    in->reporter = r;
    in->call = call;
    in->arena = arena_create();
    snprintf(in->id, sizeof in->id, "%s", id);
    snprintf(in->rcpt, sizeof in->rcpt, "%s", member_text(ask, "rcpt"));
    snprintf(in->from, sizeof in->from, "%s", member_text(ask, "from"));
    r->incoming++;
    blob_read(r->worker->redis, slice_of(in->id), NULL, on_message, in);
}

void incoming_serve(struct reporter *r) { bus_serve(r->worker->bus, "take", on_take, r); }
