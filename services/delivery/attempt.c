/* One attempt to hand a message to another domain: its route (journey steps 4 and 5), then its hosts one after another
 * (step 6) until one has answered for every recipient. How far TLS is asked for comes with the route: DANE before
 * MTA-STS (RFC 8461 §2), else opportunistic. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "libcommon/store/blob.h"
#include "services/delivery/delivery.h"
#include "services/delivery/smtp_client.h"
#include "services/delivery/targets.h"
#include "services/delivery/tls_fact.h"

struct attempt {
    struct entry *entry;
    char *domain;
    size_t count, *indexes;
    json_t *route;
    struct buf message;
    struct arena *arena;
    struct tls_wish wish;
    struct targets targets;
    size_t at;               /* of the targets */
    bool without_tls;        /* the handshake failed under opportunistic TLS: once more in plain text */
    bool failed_for_now;     /* a server could not be used for a reason that passes */
    struct tls_demand plain; /* for that */
    struct smtp_rcpt *rcpts;
    struct smtp_job job;
    char enhanced[16], reason[600], host[300];
    int code;
};

static void attempt_free(struct attempt *a) {
    a->entry->delivery->remote_sessions--;
    json_decref(a->route);
    buf_free(&a->message);
    arena_destroy(a->arena);
    free(a->rcpts);
    free(a->indexes);
    free(a->domain);
    free(a);
}

/* The same outcome for all recipients of the attempt. */
static void settle_all(struct attempt *a, enum outcome_kind kind, int code, const char *enhanced, const char *reason,
                       const char *host, int64_t retry_ms) {
    struct outcome *o = memory_alloc(a->count * sizeof *o);
    for (size_t i = 0; i < a->count; i++)
        o[i] = (struct outcome){
            .kind = kind, .code = code, .enhanced = enhanced, .reason = reason, .host = host, .retry_ms = retry_ms};
    entry_settle(a->entry, a->count, a->indexes, o);
    free(o);
    attempt_free(a);
}

/* The server answered for each recipient. */
static void settle_each(struct attempt *a, const struct smtp_result *r) {
    const struct target *t = &a->targets.each[a->at];
    struct outcome *o = memory_alloc(a->count * sizeof *o);
    json_t *details = json_pack("{s:s,s:i,s:s,s:s,s:s}", "ip", t->ip, "port", a->entry->delivery->smtp_port, "tls",
                                r->tls_version, "cipher", r->tls_cipher, "tls_verified", r->tls_verified);
    for (size_t i = 0; i < a->count; i++) {
        const struct smtp_rcpt_result *rcpt = &r->rcpts[i];
        int class = rcpt->code / 100;
        o[i] = (struct outcome){.kind = class == 2   ? OUTCOME_SENT
                                        : class == 5 ? OUTCOME_BOUNCED
                                                     : OUTCOME_DEFERRED,
                                .code = rcpt->code,
                                .enhanced = rcpt->code ? rcpt->enhanced : "4.4.2",
                                .reason = rcpt->text ? rcpt->text : "no answer",
                                .host = t->name,
                                .details = details,
                                .dsn_passed_on = r->dsn};
    }
    entry_settle(a->entry, a->count, a->indexes, o);
    json_decref(details);
    free(o);
    attempt_free(a);
}

static void try_target(struct attempt *a);

/* This server cannot be used: the next, or later. With REQUIRETLS there is no later where what it asks for is missing
 * at every server: the sender hears so at once (RFC 8689 §4.2.1). */
static void next_target(struct attempt *a) {
    a->without_tls = false;
    if (++a->at < a->targets.count) {
        try_target(a);
        return;
    }
    if (a->wish.required && !a->failed_for_now)
        settle_all(a, OUTCOME_BOUNCED, a->code / 100 == 5 ? a->code : 550,
                   a->enhanced[0] == '5' ? a->enhanced : "5.7.10", a->reason, a->host, 0);
    else
        settle_all(a, OUTCOME_DEFERRED, a->code, a->enhanced, a->reason, a->host, 0);
}

static void on_session(void *ctx, const struct smtp_result *r) {
    struct attempt *a = ctx;
    const struct target *t = &a->targets.each[a->at];
    a->code = r->code;
    snprintf(a->enhanced, sizeof a->enhanced, "%s", r->enhanced);
    snprintf(a->reason, sizeof a->reason, "%s", r->reason);
    snprintf(a->host, sizeof a->host, "%s", t->name);
    tls_fact_tell_session(a->entry, a->route, t->host, a->domain, t->ip, a->job.tls, r);
    switch (r->end) {
    case SMTP_END_DONE: settle_each(a, r); break;
    case SMTP_END_TLS_FAILED:
        if (a->job.tls->level == TLS_MAY) { /* RFC 7435: better in plain text than not at all */
            log_info("TLS failed; trying without it", "id", a->entry->id, "host", t->name, "reason", r->reason, NULL);
            a->without_tls = true;
            try_target(a);
            break;
        }
        log_warn("TLS failed where it is asked for", "id", a->entry->id, "host", t->name, "reason", r->reason, NULL);
        next_target(a);
        break;
    case SMTP_END_NO_REQUIRETLS: next_target(a); break;
    case SMTP_END_NO_SMTPUTF8:
    case SMTP_END_TOO_LARGE: settle_all(a, OUTCOME_BOUNCED, r->code, a->enhanced, a->reason, a->host, 0); break;
    case SMTP_END_NOT_NOW:
        a->failed_for_now = true;
        log_info("a server cannot be used now", "id", a->entry->id, "host", t->name, "ip", t->ip, "reason", r->reason,
                 NULL);
        if (r->code / 100 == 5 &&
            a->at + 1 == a->targets.count) /* 5xx from the last server to greeting or EHLO (RFC 7504) */
            settle_all(a, OUTCOME_BOUNCED, r->code, a->enhanced, a->reason, a->host, 0);
        else
            next_target(a);
        break;
    }
}

static void try_target(struct attempt *a) {
    const struct target *t = &a->targets.each[a->at];
    struct delivery *d = a->entry->delivery;
    char where[128];
    int n = sizeof a->job.address;
    snprintf(where, sizeof where, strchr(t->ip, ':') ? "[%s]:%d" : "%s:%d", t->ip, d->smtp_port);
    a->job.address_n = 0;
    if (evutil_parse_sockaddr_port(where, (struct sockaddr *)&a->job.address, &n) == 0) a->job.address_n = (socklen_t)n;
    a->job.tls = t->demand;
    if (a->without_tls) {
        a->plain = *t->demand;
        a->plain.level = TLS_NEVER;
        a->job.tls = &a->plain;
    }
    smtp_client_start(&a->job, on_session, a);
}

/* Message and route are there: the first server, unless none may be used. */
static void begin(struct attempt *a) {
    targets_take(a->entry, a->arena, a->route, a->domain, &a->wish, &a->targets);
    if (targets_lead_home(a->entry, &a->targets))
        settle_all(a, OUTCOME_BOUNCED, 554, "5.4.6",
                   "the domain's mail server is this one, which does not host the domain: mail would loop", "", 0);
    else if (a->targets.count)
        try_target(a);
    else if (a->targets.refusal && a->wish.required)
        settle_all(a, OUTCOME_BOUNCED, 550, "5.7.10", a->targets.refusal, "", 0); /* RFC 8689 §4.2.1 */
    else
        settle_all(a, OUTCOME_DEFERRED, 451, a->targets.refusal ? "4.7.5" : "4.4.4",
                   a->targets.refusal ? a->targets.refusal
                                      : "none of the domain's mail servers has an address that may be used",
                   "", 0);
}

static void on_message(void *ctx, int error, struct slice message) {
    struct attempt *a = ctx;
    struct delivery *d = a->entry->delivery;
    const json_t *envelope = a->entry->envelope;
    if (error == STORE_NOT_FOUND || error == STORE_INVALID) {
        log_error("a message of the queue has no body any more", "id", a->entry->id, NULL);
        settle_all(a, OUTCOME_BOUNCED, 554, "5.3.0", "the message's body is lost", "", 0);
        return;
    }
    if (error) {
        settle_all(a, OUTCOME_DEFERRED, 451, "4.3.0", "the store cannot be reached", "", 10000);
        return;
    }
    buf_add_slice(&a->message, message);
    a->wish = (struct tls_wish){.dane = tls_list_names(slice_of(d->dane_required), slice_of(a->domain)),
                                .required = json_is_true(json_object_get(envelope, "require_tls")),
                                .waived = tls_message_waives(message)};
    a->rcpts = memory_alloc(a->count * sizeof *a->rcpts);
    for (size_t i = 0; i < a->count; i++) {
        const json_t *rcpt = entry_rcpt(a->entry, a->indexes[i]);
        a->rcpts[i] = (struct smtp_rcpt){json_string_value(json_object_get(rcpt, "address")),
                                         json_string_value(json_object_get(rcpt, "orcpt")),
                                         json_string_value(json_object_get(rcpt, "notify"))};
    }
    a->job =
        (struct smtp_job){.base = d->worker->base,
                          .tls_context = d->tls,
                          .hello = d->hello,
                          .from = slice_of(entry_reverse_path(a->entry, a->indexes[0])),
                          .smtputf8 = json_is_true(json_object_get(envelope, "smtputf8")),
                          .eight_bit = strcmp(json_string_value(json_object_get(envelope, "body")), "8bitmime") == 0,
                          .require_tls = a->wish.required,
                          .ret = json_string_value(json_object_get(envelope, "ret")),
                          .envid = json_string_value(json_object_get(envelope, "envid")),
                          .rcpt_count = a->count,
                          .rcpts = a->rcpts,
                          .message = buf_slice(&a->message)};
    begin(a);
}

static void tell_route(const struct attempt *a) {
    json_t *sts = json_object_get(a->route, "mta_sts");
    const json_t *host;
    bool dane = false;
    size_t i;
    json_array_foreach(json_object_get(a->route, "hosts"), i, host) dane =
        dane || json_array_size(json_object_get(host, "tlsa")) > 0;
    bus_publish(a->entry->delivery->worker->bus, "mail.routed", slice_of(a->entry->id),
                json_pack("{s:s,s:O,s:O,s:o,s:b}", "domain", a->domain, "hosts", json_object_get(a->route, "hosts"),
                          "dnssec", json_object_get(a->route, "dnssec"), "mta_sts",
                          sts ? json_incref(sts) : json_null(), "dane", dane));
}

static void on_route(void *ctx, int error, const json_t *reply) {
    struct attempt *a = ctx;
    const char *result = json_string_value(json_object_get(reply, "result")),
               *reason = json_string_value(json_object_get(reply, "reason"));
    if (!reason) reason = "";
    if (error || !result) {
        settle_all(a, OUTCOME_DEFERRED, 451, "4.4.3", "the domain's servers cannot be looked up now", "", 0);
        return;
    }
    a->route = json_incref((json_t *)(uintptr_t)reply);
    tls_fact_tell_left_out(a->entry, a->route, a->domain);
    if (strcmp(result, "null_mx") == 0) {
        settle_all(a, OUTCOME_BOUNCED, 556, "5.1.10", "the domain takes no mail: it publishes a null MX (RFC 7505)", "",
                   0);
    } else if (strcmp(result, "nxdomain") == 0) {
        settle_all(a, OUTCOME_BOUNCED, 550, "5.1.2",
                   *reason ? reason : "the domain does not exist, or has no mail servers", "", 0);
    } else if (strcmp(result, "ok") != 0) {
        settle_all(a, OUTCOME_DEFERRED, 451, "4.4.3", *reason ? reason : "DNS gives no answer", "", 0);
    } else {
        tell_route(a);
        blob_read(a->entry->delivery->worker->redis, slice_of(a->entry->id), NULL, on_message, a);
    }
}

void attempt_start(struct entry *e, const char *domain, size_t count, const size_t indexes[]) {
    struct delivery *d = e->delivery;
    struct attempt *a = memory_alloc(sizeof *a);
    a->entry = e;
    a->arena = arena_create();
    a->domain = memory_copy(slice_of(domain));
    a->count = count;
    a->indexes = memory_alloc(count * sizeof *a->indexes);
    memcpy(a->indexes, indexes, count * sizeof *indexes);
    if (++d->remote_sessions > DELIVERY_REMOTE_MAX)
        settle_all(a, OUTCOME_DEFERRED, 451, "4.3.2", "too many deliveries at once here", "", 1000);
    else
        bus_request(d->worker->bus, "verifier.route", json_pack("{s:s}", "domain", domain), DELIVERY_ROUTE_MS, on_route,
                    a);
}
