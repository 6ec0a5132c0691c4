/* Sends one bucket's report to each address of its policy, in these steps: check the addresses,
 * make the mails, post by HTTPS, commit the mails, end the bucket. A temporary failure before
 * anything was sent postpones the whole bucket, each time for longer, until it is given up. An
 * HTTPS server that does not answer is given up at once if another address gets the report. A
 * mail's id is computed from bucket and address, so repeating a commit while the mail is in the
 * queue changes nothing. A kill between the commit and the end of the bucket can send it twice,
 * with the same identifiers, which readers handle (RFC 9990 §3.5.4). */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "libcommon/report/dmarc_aggregate.h"
#include "libcommon/report/report_archive.h"
#include "libcommon/report/report_mail.h"
#include "services/reporter/reporter.h"

struct outgoing;

struct address {
    struct outgoing *outgoing;
    struct report_uri uri;
    char id[ULID_BYTES];
    struct letter *letter;
    const char *result; /* NULL: not known yet; "sent", "refused", "failed" */
    char reason[160];
};

struct outgoing {
    struct reporter *reporter;
    char *bucket, *kind, *domain;
    int64_t begin, end, due;
    char report_id[ULID_BYTES + DOMAIN_BYTES];
    json_int_t messages;
    struct buf packed;
    size_t count, waiting;
    struct address addresses[REPORT_URIS_MAX];
    bool put_off, retry;              /* retry: an HTTPS server may answer later */
    char why[160];                    /* reason why it was postponed */
    void (*next)(struct outgoing *o); /* the step after the pending answers */
    void (*done)(void *ctx);
    void *ctx;
};

static bool is_tls(const struct outgoing *o) { return strcmp(o->kind, "tls") == 0; }

static void finish(struct outgoing *o) {
    void (*done)(void *) = o->done;
    void *ctx = o->ctx;
    for (size_t i = 0; i < o->count; i++) letter_destroy(o->addresses[i].letter);
    buf_free(&o->packed);
    free(o->bucket);
    free(o->kind);
    free(o->domain);
    free(o);
    done(ctx);
}

static void on_put_off(void *ctx, int error, long long value) {
    (void)error, (void)value; /* without the store, the lease expires; when it is lost, another
                                 replica has the bucket */
    finish(ctx);
}

/* Postpones the bucket: for a minute at first, then for a quarter of its waiting time, at most an
 * hour. */
static void put_off(struct outgoing *o) {
    int64_t now = clock_wall_ms() / 1000, pause = (now - o->due) / 4;
    pause = pause < RETRY_FIRST_SECONDS ? RETRY_FIRST_SECONDS : pause > RETRY_LAST_SECONDS ? RETRY_LAST_SECONDS : pause;
    log_info("a report is postponed", "kind", o->kind, "domain", o->domain, "reason", o->why, NULL);
    report_put_off(o->reporter->worker->redis, o->bucket, o->reporter->token, now + pause, on_put_off, o);
}

/* One pending answer has arrived; after the last one the next step begins, unless the bucket is
 * postponed. */
static void arrived(struct outgoing *o) {
    if (--o->waiting) return;
    if (o->put_off)
        put_off(o);
    else
        o->next(o);
}

static void settle(struct address *a, const char *result, const char *reason) {
    a->result = result;
    snprintf(a->reason, sizeof a->reason, "%s", reason);
}

/* A temporary failure. */
static void temporary(struct address *a, const char *reason, int64_t patience) {
    struct outgoing *o = a->outgoing;
    if (clock_wall_ms() / 1000 < o->due + patience) {
        o->put_off = true;
        snprintf(o->why, sizeof o->why, "%s", reason);
    } else {
        settle(a, "failed", reason);
    }
}

/* The end of the bucket */

static void on_recorded(void *ctx, int error, long long value) {
    struct outgoing *o = ctx;
    (void)value;
    if (error)
        log_warn("a report was sent, but this could not be recorded", "kind", o->kind, "domain", o->domain, NULL);
    finish(o);
}

static void record(struct outgoing *o) {
    struct report_outcome outcomes[REPORT_URIS_MAX];
    char at[CLOCK_TEXT_BYTES];
    for (size_t i = 0; i < o->count; i++) {
        struct address *a = &o->addresses[i];
        const char *to = a->uri.scheme == REPORT_HTTPS ? a->uri.url : a->uri.address;
        bool sent = a->result && strcmp(a->result, "sent") == 0;
        metric_add(sent ? &reporter_sent : &reporter_refused, 1);
        log_info(sent ? "report sent" : "report not sent", "kind", o->kind, "domain", o->domain, "to", to, "id", a->id,
                 "reason", a->reason, NULL);
        outcomes[i] = (struct report_outcome){
            a->id, json_pack("{s:s,s:s,s:I,s:I,s:s,s:s,s:s,s:s,s:I,s:s}", "kind", o->kind, "domain", o->domain, "begin",
                             (json_int_t)o->begin, "end", (json_int_t)o->end - 1, "report_id", o->report_id, "to", to,
                             "result", a->result ? a->result : "failed", "reason", a->reason, "messages", o->messages,
                             "at", clock_rfc3339(clock_wall_ms(), at))};
    }
    report_sent(o->reporter->worker->redis, o->bucket, o->count, outcomes, on_recorded, o);
}

/* The letters into the queue */

static void on_committed(void *ctx, int error) {
    struct address *a = ctx;
    if (error) /* the bucket stays, and none of its mails is given up */
        temporary(a, "the store does not accept it", INT32_MAX);
    else
        settle(a, "sent", "");
    arrived(a->outgoing);
}

/* The id is recorded as a report before it is sent, so that its own delivery is not reported. */
static void on_own(void *ctx, int error, long long value) {
    struct address *a = ctx;
    struct letter *l = a->letter;
    (void)value;
    a->letter = NULL;
    if (!error) {
        letter_commit(l, on_committed, a);
        return;
    }
    letter_destroy(l);
    on_committed(a, error);
}

static void commit_letters(struct outgoing *o) {
    o->next = record;
    o->waiting = 1;
    for (size_t i = 0; i < o->count; i++) {
        struct address *a = &o->addresses[i];
        if (!a->letter) continue;
        o->waiting++;
        if (is_tls(o))
            report_own(o->reporter->worker->redis, a->id, clock_wall_ms() / 1000, on_own, a);
        else
            on_own(a, 0, 0);
    }
    arrived(o);
}

/* HTTPS */

static void on_posted(void *ctx, int status, const char *reason) {
    struct address *a = ctx;
    char text[160];
    bool sent = status >= 200 && status < 300;
    if (status)
        snprintf(text, sizeof text, "the server answered %d", status);
    else
        snprintf(text, sizeof text, "%.150s", reason);
    settle(a, sent ? "sent" : "failed", sent ? "" : text);
    if (!sent && (status < 400 || status >= 500)) a->outgoing->retry = true;
    arrived(a->outgoing);
}

/* All posts have ended: a server that may answer later is tried again, unless another address has
 * or will get the report. */
static void judge_posts(struct outgoing *o) {
    bool reached = false;
    for (size_t i = 0; i < o->count; i++) {
        const struct address *a = &o->addresses[i];
        reached = reached || a->letter || (a->result && strcmp(a->result, "sent") == 0);
        if (a->uri.scheme == REPORT_HTTPS) snprintf(o->why, sizeof o->why, "%s", a->reason);
    }
    if (o->retry && !reached && clock_wall_ms() / 1000 < o->due + HTTPS_RETRY_SECONDS)
        put_off(o);
    else
        commit_letters(o);
}

static void post_all(struct outgoing *o) {
    o->next = judge_posts;
    o->waiting = 1;
    for (size_t i = 0; i < o->count; i++) {
        struct address *a = &o->addresses[i];
        if (a->result || a->uri.scheme != REPORT_HTTPS) continue;
        if (!is_tls(o)) {
            settle(a, "refused", "DMARC reports are sent only by mail (RFC 9990 §3.5)");
            continue;
        }
        o->waiting++;
        https_post(o->reporter, a->uri.url, "application/tlsrpt+gzip", buf_slice(&o->packed), on_posted, a);
    }
    arrived(o);
}

/* The letters are made */

static void on_letter(void *ctx, struct letter *l, enum letter_state state) {
    struct address *a = ctx;
    a->letter = l;
    if (state != LETTER_READY) {
        letter_destroy(l);
        a->letter = NULL;
    }
    if (state == LETTER_TEMPORARY)
        temporary(a, "it could not be signed, or its address could not be looked up", GIVE_UP_SECONDS);
    if (state == LETTER_NOBODY) settle(a, "failed", "the address is at this site and does not exist");
    arrived(a->outgoing);
}

static void make_letters(struct outgoing *o) {
    const struct settings *s = &o->reporter->settings;
    o->next = post_all;
    o->waiting = 1;
    for (size_t i = 0; i < o->count; i++) {
        struct address *a = &o->addresses[i];
        struct buf text = {0};
        if (a->result || a->uri.scheme != REPORT_MAILTO) continue;
        struct report_mail m = {.from = s->from,
                                .to = a->uri.address,
                                .id = a->id,
                                .host = o->reporter->worker->hostname,
                                .submitter = s->submitter,
                                .domain = o->domain,
                                .report_id = o->report_id,
                                .begin = o->begin,
                                .end = o->end - 1,
                                .now_ms = clock_wall_ms()};
        (is_tls(o) ? report_mail_tls : report_mail_aggregate)(&m, buf_slice(&o->packed), &text);
        if (a->uri.max_bytes && text.n > a->uri.max_bytes) { /* RFC 9990 §3.5 */
            settle(a, "refused", "the report exceeds the size limit of its address");
            buf_free(&text);
            continue;
        }
        o->waiting++;
        letter_prepare(o->reporter, a->id, a->uri.address, &text, on_letter, a);
    }
    arrived(o);
}

/* Who may get it */

static void on_checked(void *ctx, enum destination answer, const char *instead) {
    struct address *a = ctx;
    if (answer == DESTINATION_UNKNOWN)
        temporary(a, "DNS did not answer whether the address may get it", GIVE_UP_SECONDS);
    else if (answer == DESTINATION_REFUSED)
        settle(a, "refused", "the address is at another domain, which does not permit reports about this domain");
    else if (*instead)
        snprintf(a->uri.address, sizeof a->uri.address, "%s", instead);
    arrived(a->outgoing);
}

static void check_all(struct outgoing *o) {
    o->next = make_letters;
    o->waiting = 1;
    for (size_t i = 0; i < o->count && !is_tls(o); i++) { /* RFC 8460 has no such check */
        struct address *a = &o->addresses[i];
        if (a->uri.scheme != REPORT_MAILTO) continue;
        o->waiting++;
        destination_check(o->reporter, o->domain, &a->uri, "rua", on_checked, a);
    }
    arrived(o);
}

/* The document */

/* false: there is nothing to report. */
static bool make_document(struct outgoing *o, const struct report_due *due) {
    const struct settings *s = &o->reporter->settings;
    struct buf text = {0};
    json_t *document = (is_tls(o) ? document_tls : document_dmarc)(s, due, o->report_id, &o->messages);
    if (!document) return false;
    if (is_tls(o)) {
        char *json = json_dumps(document, JSON_INDENT(1));
        if (!json) memory_exhausted();
        buf_add_str(&text, json);
        free(json);
    } else {
        dmarc_aggregate_write(document, &text);
    }
    report_pack(buf_slice(&text), &o->packed);
    buf_free(&text);
    json_decref(document);
    return true;
}

static void take_addresses(struct outgoing *o, const char *rua) {
    struct slice rest = slice_of(rua);
    while (o->count < REPORT_URIS_MAX && report_uri_next(&rest, &o->addresses[o->count].uri)) {
        struct address *a = &o->addresses[o->count++];
        char name[1024];
        a->outgoing = o;
        snprintf(name, sizeof name, "%s %s", o->bucket, a->uri.scheme == REPORT_HTTPS ? a->uri.url : a->uri.address);
        report_ulid(o->end * 1000, name, a->id);
    }
}

void outgoing_start(struct reporter *r, const struct report_due *due, void (*done)(void *ctx), void *ctx) {
    struct outgoing *o = memory_alloc(sizeof *o);
    char id[ULID_BYTES];
    const char *rua = member_text_or_null(due->policy, "rua");
    o->reporter = r;
    o->bucket = memory_copy(slice_of(due->bucket));
    o->kind = memory_copy(slice_of(due->kind));
    o->domain = memory_copy(slice_of(due->domain));
    o->begin = due->start;
    o->end = due->end;
    o->due = due->due;
    o->done = done;
    o->ctx = ctx;
    report_ulid(due->end * 1000, o->bucket, id);
    snprintf(o->report_id, sizeof o->report_id, "%s@%s", id, r->settings.submitter);
    if (!is_tls(o)) rua = member_text_or_null(json_object_get(due->policy, "published"), "rua");
    take_addresses(o, rua ? rua : "");
    if (!o->count) log_info("no address of this policy can get a report", "kind", o->kind, "domain", o->domain, NULL);
    if (o->count && !make_document(o, due)) o->count = 0; /* every row was damaged */
    if (o->count)
        check_all(o);
    else
        record(o);
}
