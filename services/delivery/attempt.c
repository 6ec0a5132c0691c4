/* One attempt to hand a message to another domain: its route (journey steps 4 and 5), then its hosts one after another (step 6) until one has answered for
 * every recipient. How far TLS is asked for comes with the route: DANE before MTA-STS (RFC 8461 §2), else opportunistic. */
#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "libcommon/store/blob.h"
#include "services/delivery/delivery.h"
#include "services/delivery/smtp_client.h"

struct target {
    const char *host; /* points into the route */
    char ip[64];
    json_t *tlsa; /* of the host; NULL: none */
};

struct attempt {
    struct entry *entry;
    char *domain;
    size_t count, *indexes;
    json_t *route;
    struct buf message;
    struct target targets[DELIVERY_ADDRESSES_MAX];
    size_t target_count, at;
    bool without_tls; /* the handshake failed under opportunistic TLS: once more in plain text */
    bool sts;
    struct smtp_rcpt *rcpts;
    struct smtp_tlsa tlsa[16];
    struct buf tlsa_bytes;
    struct smtp_job job;
    char enhanced[16], reason[600], host[300];
    int code;
};

static void attempt_free(struct attempt *a) {
    a->entry->delivery->remote_sessions--;
    json_decref(a->route);
    buf_free(&a->message);
    buf_free(&a->tlsa_bytes);
    free(a->rcpts);
    free(a->indexes);
    free(a->domain);
    free(a);
}

/* The same outcome for all recipients of the attempt. */
static void settle_all(struct attempt *a, enum outcome_kind kind, int code, const char *enhanced, const char *reason, const char *host, int64_t retry_ms) {
    struct outcome *o = memory_alloc(a->count * sizeof *o);
    for (size_t i = 0; i < a->count; i++)
        o[i] = (struct outcome){.kind = kind, .code = code, .enhanced = enhanced, .reason = reason, .host = host, .retry_ms = retry_ms};
    entry_settle(a->entry, a->count, a->indexes, o);
    free(o);
    attempt_free(a);
}

/* The server answered for each recipient. */
static void settle_each(struct attempt *a, const struct smtp_result *r) {
    const struct target *t = &a->targets[a->at];
    struct outcome *o = memory_alloc(a->count * sizeof *o);
    json_t *details = json_pack("{s:s,s:i,s:s,s:s,s:s}", "ip", t->ip, "port", a->entry->delivery->smtp_port, "tls", r->tls_version, "cipher", r->tls_cipher,
                                "tls_verified", r->tls_verified);
    for (size_t i = 0; i < a->count; i++) {
        const struct smtp_rcpt_result *rcpt = &r->rcpts[i];
        int class = rcpt->code / 100;
        o[i] = (struct outcome){.kind = class == 2   ? OUTCOME_SENT
                                        : class == 5 ? OUTCOME_BOUNCED
                                                     : OUTCOME_DEFERRED,
                                .code = rcpt->code,
                                .enhanced = rcpt->code ? rcpt->enhanced : "4.4.2",
                                .reason = rcpt->text ? rcpt->text : "no answer",
                                .host = t->host,
                                .details = details,
                                .dsn_passed_on = r->dsn};
    }
    entry_settle(a->entry, a->count, a->indexes, o);
    json_decref(details);
    free(o);
    attempt_free(a);
}

static void try_target(struct attempt *a);

/* This server cannot be used now: the next, or later. */
static void next_target(struct attempt *a) {
    a->without_tls = false;
    if (++a->at < a->target_count) {
        try_target(a);
        return;
    }
    settle_all(a, OUTCOME_DEFERRED, a->code, a->enhanced, a->reason, a->host, 0);
}

static void on_session(void *ctx, const struct smtp_result *r) {
    struct attempt *a = ctx;
    const struct target *t = &a->targets[a->at];
    a->code = r->code;
    snprintf(a->enhanced, sizeof a->enhanced, "%s", r->enhanced);
    snprintf(a->reason, sizeof a->reason, "%s", r->reason);
    snprintf(a->host, sizeof a->host, "%s", t->host);
    switch (r->end) {
    case SMTP_END_DONE: settle_each(a, r); break;
    case SMTP_END_TLS_FAILED:
        if (a->job.tls == SMTP_TLS_MAY) { /* RFC 7435: better in plain text than not at all */
            log_info("TLS failed; trying without it", "id", a->entry->id, "host", t->host, "reason", r->reason, NULL);
            a->without_tls = true;
            try_target(a);
            break;
        }
        log_warn("TLS failed where it is asked for", "id", a->entry->id, "host", t->host, "reason", r->reason, NULL);
        next_target(a);
        break;
    case SMTP_END_NO_SMTPUTF8:
    case SMTP_END_TOO_LARGE: settle_all(a, OUTCOME_BOUNCED, r->code, a->enhanced, a->reason, a->host, 0); break;
    case SMTP_END_NOT_NOW:
        log_info("a server cannot be used now", "id", a->entry->id, "host", t->host, "ip", t->ip, "reason", r->reason, NULL);
        if (r->code / 100 == 5 && a->at + 1 == a->target_count) /* 5xx from the last server to greeting or EHLO (RFC 7504) */
            settle_all(a, OUTCOME_BOUNCED, r->code, a->enhanced, a->reason, a->host, 0);
        else
            next_target(a);
        break;
    }
}

/* The host's TLSA records in the form the client takes; only usages 2 and 3 count for SMTP (RFC 7672 §3.1.3). */
static void take_tlsa(struct attempt *a, const json_t *records) {
    size_t i, n = 0, offsets[16];
    json_t *each;
    buf_reset(&a->tlsa_bytes);
    json_array_foreach((json_t *)(uintptr_t)records, i, each) {
        const char *hex = json_string_value(json_object_get(each, "data_hex"));
        json_int_t usage = json_integer_value(json_object_get(each, "usage"));
        if (n == 16 || !hex || (usage != 2 && usage != 3)) continue;
        size_t room = strlen(hex) / 2, got;
        if (sodium_hex2bin((unsigned char *)buf_reserve(&a->tlsa_bytes, room + 1), room + 1, hex, strlen(hex), NULL, &got, NULL) != 0) continue;
        offsets[n] = a->tlsa_bytes.n;
        a->tlsa[n++] = (struct smtp_tlsa){(unsigned char)usage,
                                          (unsigned char)json_integer_value(json_object_get(each, "selector")),
                                          (unsigned char)json_integer_value(json_object_get(each, "matching")),
                                          {NULL, got}};
        a->tlsa_bytes.n += got;
    }
    for (i = 0; i < n; i++) a->tlsa[i].data.p = a->tlsa_bytes.data + offsets[i];
    a->job.tlsa_count = n;
    a->job.tlsa = a->tlsa;
}

static void try_target(struct attempt *a) {
    const struct target *t = &a->targets[a->at];
    struct delivery *d = a->entry->delivery;
    char where[128];
    int n = sizeof a->job.address;
    snprintf(where, sizeof where, strchr(t->ip, ':') ? "[%s]:%d" : "%s:%d", t->ip, d->smtp_port);
    a->job.address_n = 0;
    if (evutil_parse_sockaddr_port(where, (struct sockaddr *)&a->job.address, &n) == 0) a->job.address_n = (socklen_t)n;
    a->job.host = t->host;
    a->job.dane_base = t->host;
    take_tlsa(a, t->tlsa);
    if (a->job.tlsa_count)
        a->job.tls = SMTP_TLS_DANE;
    else if (a->sts || a->job.require_tls)
        a->job.tls = SMTP_TLS_PKIX;
    else
        a->job.tls = a->without_tls ? SMTP_TLS_NEVER : SMTP_TLS_MAY;
    smtp_client_start(&a->job, on_session, a);
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
    a->rcpts = memory_alloc(a->count * sizeof *a->rcpts);
    for (size_t i = 0; i < a->count; i++) {
        const json_t *rcpt = entry_rcpt(a->entry, a->indexes[i]);
        a->rcpts[i] = (struct smtp_rcpt){json_string_value(json_object_get(rcpt, "address")), json_string_value(json_object_get(rcpt, "orcpt")),
                                         json_string_value(json_object_get(rcpt, "notify"))};
    }
    a->job = (struct smtp_job){.base = d->worker->base,
                               .tls_context = d->tls,
                               .hello = d->hello,
                               .from = slice_of(entry_reverse_path(a->entry, a->indexes[0])),
                               .smtputf8 = json_is_true(json_object_get(envelope, "smtputf8")),
                               .eight_bit = strcmp(json_string_value(json_object_get(envelope, "body")), "8bitmime") == 0,
                               .require_tls = json_is_true(json_object_get(envelope, "require_tls")),
                               .ret = json_string_value(json_object_get(envelope, "ret")),
                               .envid = json_string_value(json_object_get(envelope, "envid")),
                               .rcpt_count = a->count,
                               .rcpts = a->rcpts,
                               .message = buf_slice(&a->message)};
    try_target(a);
}

/* Whether an MTA-STS policy in enforce mode names this host (RFC 8461 §4.1: an exact name, or "*." for one label). */
static bool sts_allows(const json_t *policy, const char *host) {
    size_t i;
    json_t *each;
    json_array_foreach(json_object_get(policy, "mx"), i, each) {
        const char *mx = json_string_value(each), *dot = strchr(host, '.');
        if (!mx) continue;
        if (strcasecmp(mx, host) == 0 || (strncmp(mx, "*.", 2) == 0 && dot && strcasecmp(mx + 1, dot) == 0)) return true;
    }
    return false;
}

/* The addresses to try: hosts by preference, in random order among equals (RFC 5321 §5.1); the verifier answers them sorted by preference. */
static void take_targets(struct attempt *a) {
    json_t *hosts = json_object_get(a->route, "hosts"), *policy = json_object_get(a->route, "mta_sts");
    size_t count = json_array_size(hosts), k;
    const char *mode = json_string_value(json_object_get(policy, "mode"));
    a->sts = mode && strcmp(mode, "enforce") == 0;
    json_t **order = memory_alloc((count + 1) * sizeof *order);
    for (size_t i = 0; i < count; i++) order[i] = json_array_get(hosts, i);
    for (size_t i = 0; i < count; i++) {
        size_t same = i;
        while (same + 1 < count &&
               json_integer_value(json_object_get(order[same + 1], "preference")) == json_integer_value(json_object_get(order[i], "preference")))
            same++;
        size_t pick = i + randombytes_uniform((uint32_t)(same - i + 1));
        json_t *swap = order[i];
        order[i] = order[pick];
        order[pick] = swap;
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_object_get(order[i], "name"));
        json_t *address;
        if (a->sts && !sts_allows(policy, name)) {
            log_warn("a host is not in the domain's MTA-STS policy; not used", "id", a->entry->id, "host", name, NULL);
            continue;
        }
        json_array_foreach(json_object_get(order[i], "addresses"), k, address) {
            if (a->target_count == DELIVERY_ADDRESSES_MAX) break;
            struct target *t = &a->targets[a->target_count++];
            t->host = name;
            t->tlsa = json_object_get(order[i], "tlsa");
            snprintf(t->ip, sizeof t->ip, "%s", json_string_value(address));
        }
    }
    free(order);
}

static bool leads_to_ourselves(const struct attempt *a) {
    for (size_t i = 0; i < a->target_count; i++)
        if (strcasecmp(a->targets[i].host, a->entry->delivery->worker->hostname) == 0) return true;
    return false;
}

static void tell_route(const struct attempt *a) {
    json_t *sts = json_object_get(a->route, "mta_sts");
    bool dane = false;
    for (size_t i = 0; i < a->target_count; i++) dane = dane || json_array_size(a->targets[i].tlsa) > 0;
    bus_publish(a->entry->delivery->worker->bus, "mail.routed", slice_of(a->entry->id),
                json_pack("{s:s,s:O,s:O,s:o,s:b}", "domain", a->domain, "hosts", json_object_get(a->route, "hosts"), "dnssec",
                          json_object_get(a->route, "dnssec"), "mta_sts", sts ? json_incref(sts) : json_null(), "dane", dane));
}

static void on_route(void *ctx, int error, const json_t *reply) {
    struct attempt *a = ctx;
    const char *result = json_string_value(json_object_get(reply, "result")), *reason = json_string_value(json_object_get(reply, "reason"));
    if (!reason) reason = "";
    if (error || !result) {
        settle_all(a, OUTCOME_DEFERRED, 451, "4.4.3", "the domain's servers cannot be looked up now", "", 0);
        return;
    }
    a->route = json_incref((json_t *)(uintptr_t)reply);
    if (strcmp(result, "null_mx") == 0) {
        settle_all(a, OUTCOME_BOUNCED, 556, "5.1.10", "the domain takes no mail: it publishes a null MX (RFC 7505)", "", 0);
    } else if (strcmp(result, "nxdomain") == 0) {
        settle_all(a, OUTCOME_BOUNCED, 550, "5.1.2", *reason ? reason : "the domain does not exist, or has no mail servers", "", 0);
    } else if (strcmp(result, "ok") != 0) {
        settle_all(a, OUTCOME_DEFERRED, 451, "4.4.3", *reason ? reason : "DNS gives no answer", "", 0);
    } else {
        take_targets(a);
        tell_route(a);
        if (!a->target_count)
            settle_all(a, OUTCOME_DEFERRED, 451, "4.4.4", "none of the domain's mail servers has an address that may be used", "", 0);
        else if (leads_to_ourselves(a))
            settle_all(a, OUTCOME_BOUNCED, 554, "5.4.6", "the domain's mail server is this one, which does not host the domain: mail would loop", "", 0);
        else
            blob_read(a->entry->delivery->worker->redis, slice_of(a->entry->id), NULL, on_message, a);
    }
}

void attempt_start(struct entry *e, const char *domain, size_t count, const size_t indexes[]) {
    struct delivery *d = e->delivery;
    struct attempt *a = memory_alloc(sizeof *a);
    a->entry = e;
    a->domain = memory_copy(slice_of(domain));
    a->count = count;
    a->indexes = memory_alloc(count * sizeof *a->indexes);
    memcpy(a->indexes, indexes, count * sizeof *indexes);
    if (++d->remote_sessions > DELIVERY_REMOTE_MAX)
        settle_all(a, OUTCOME_DEFERRED, 451, "4.3.2", "too many deliveries at once here", "", 1000);
    else
        bus_request(d->worker->bus, "verifier.route", json_pack("{s:s}", "domain", domain), DELIVERY_ROUTE_MS, on_route, a);
}
