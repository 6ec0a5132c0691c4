/* The routes: handlers, access rights, and types of bodies. */
#include <sodium.h>
#include <stdio.h>

#include "libcommon/base/arena.h"
#include "services/admin/admin.h"

static const struct field domain_fields[] = {{"domain", FIELD_TEXT, true}};
static const struct field domain_changes[] = {{"dns", FIELD_OBJECT, true}};
static const struct field account_fields[] = {
    {"address", FIELD_TEXT, true}, {"password", FIELD_TEXT, true}, {"quota_bytes", FIELD_BYTES, false}};
static const struct field account_changes[] = {{"password", FIELD_TEXT, false}, {"quota_bytes", FIELD_BYTES, false}};
static const struct field alias_fields[] = {{"address", FIELD_TEXT, true}, {"targets", FIELD_TEXTS, true}};

static const struct field folder_fields[] = {
    {"name", FIELD_TEXT, true}, {"subscribed", FIELD_BOOL, false}, {"special_use", FIELD_TEXT, false}};
static const struct field record_fields[] = {{"record", FIELD_OBJECT, true}};
static const struct field restore_fields[] = {{"at", FIELD_TEXT, false},
                                              {"folder", FIELD_TEXT, false},
                                              {"messages", FIELD_TEXTS, false},
                                              {"beside", FIELD_TEXT, false}};
static const struct field undo_fields[] = {{"days", FIELD_BYTES, false}};
static const struct field queue_domain_fields[] = {{"domain", FIELD_TEXT, true}};
static const struct field queue_changes[] = {{"priority", FIELD_NUMBER, true}};

#define BODY(table) .fields = table, .field_count = sizeof table / sizeof *table

/* head + a variable part (if tail is not NULL) + tail. The longest head is first. */
struct route {
    const char *method, *head, *tail;
    void (*handle)(struct request *r);
    bool open;    /* without a token */
    bool message; /* the body is a message, not JSON */
    const struct field *fields;
    size_t field_count;
};

/* The API for administrators. */
static const struct route api_routes[] = {
    {"GET", "/api/v1/health", NULL, .handle = health_get, .open = true},
    {"GET", "/api/v1/openapi.json", NULL, .handle = openapi_get, .open = true},
    {"GET", "/api/v1/domains/", "/keys", .handle = key_list},
    {"POST", "/api/v1/domains/", "/keys/rotate", .handle = key_rotate},
    {"GET", "/api/v1/domains", NULL, .handle = domain_list},
    {"POST", "/api/v1/domains", NULL, .handle = domain_add, BODY(domain_fields)},
    {"GET", "/api/v1/domains/", "/dns", .handle = domain_dns},
    {"GET", "/api/v1/domains/", "/check", .handle = domain_check_get},
    {"POST", "/api/v1/domains/", "/check", .handle = domain_check_post},
    {"GET", "/api/v1/domains/", "", .handle = domain_get},
    {"PATCH", "/api/v1/domains/", "", .handle = domain_patch, BODY(domain_changes)},
    {"DELETE", "/api/v1/domains/", "", .handle = domain_delete},
    {"GET", "/api/v1/accounts", NULL, .handle = account_list},
    {"POST", "/api/v1/accounts", NULL, .handle = account_add_request, BODY(account_fields)},
    {"GET", "/api/v1/accounts/", "/record", .handle = account_record_get},
    {"PUT", "/api/v1/accounts/", "/record", .handle = account_record_put, BODY(record_fields)},
    {"GET", "/api/v1/accounts/", "/folders", .handle = folders_get},
    {"PUT", "/api/v1/accounts/", "/folders", .handle = folder_put, BODY(folder_fields)},
    {"GET", "/api/v1/accounts/", "/messages/raw", .handle = message_get},
    {"GET", "/api/v1/accounts/", "/messages", .handle = messages_get},
    {"POST", "/api/v1/accounts/", "/messages", .handle = message_post, .message = true},
    {"GET", "/api/v1/accounts/", "/removed", .handle = removed_get},
    {"POST", "/api/v1/accounts/", "/restore", .handle = restore_post, BODY(restore_fields)},
    {"PUT", "/api/v1/accounts/", "/undo", .handle = undo_put, BODY(undo_fields)},
    {"GET", "/api/v1/accounts/", "", .handle = account_get},
    {"PATCH", "/api/v1/accounts/", "", .handle = account_patch, BODY(account_changes)},
    {"DELETE", "/api/v1/accounts/", "", .handle = account_delete_request},
    {"GET", "/api/v1/aliases", NULL, .handle = alias_list},
    {"POST", "/api/v1/aliases", NULL, .handle = alias_add, BODY(alias_fields)},
    {"GET", "/api/v1/aliases/", "", .handle = alias_get},
    {"DELETE", "/api/v1/aliases/", "", .handle = alias_delete},
    {"GET", "/api/v1/messages/", "/journey", .handle = journey_get},
    {"GET", "/api/v1/messages/", "/verdict", .handle = verdict_get},
    {"GET", "/api/v1/queue", NULL, .handle = queue_list_request},
    {"POST", "/api/v1/queue/retry", NULL, .handle = queue_retry_domain_request, BODY(queue_domain_fields)},
    {"POST", "/api/v1/queue/", "/retry", .handle = queue_retry_request},
    {"POST", "/api/v1/queue/", "/hold", .handle = queue_hold_request},
    {"POST", "/api/v1/queue/", "/release", .handle = queue_release_request},
    {"PATCH", "/api/v1/queue/", "", .handle = queue_priority_request, BODY(queue_changes)},
    {"DELETE", "/api/v1/queue/", "", .handle = queue_delete_request},
    {"GET", "/api/v1/reports/dmarc", NULL, .handle = reports_dmarc},
    {"GET", "/api/v1/reports/tls", NULL, .handle = reports_tls},
    {"GET", "/api/v1/reports/failures", NULL, .handle = reports_failures},
    {"GET", "/api/v1/reports/unreadable", NULL, .handle = reports_unreadable},
    {"GET", "/api/v1/reports/dmarc/", "", .handle = report_get},
    {"GET", "/api/v1/reports/tls/", "", .handle = report_get},
    {"GET", "/api/v1/reports/failures/", "", .handle = report_get},
    {"GET", "/api/v1/reports/unreadable/", "", .handle = report_get},
    {"GET", "/api/v1/reports/summary", NULL, .handle = reports_summary},
    {"GET", "/api/v1/reports/sent", NULL, .handle = reports_sent},
};

/* The public pages for mail clients and other servers, without a token. */
static const struct route web_routes[] = {
    {"GET", "/.well-known/autoconfig/mail/config-v1.1.xml", NULL, .handle = autoconfig_get, .open = true},
    {"GET", "/mail/config-v1.1.xml", NULL, .handle = autoconfig_get, .open = true},
    {"POST", "/autodiscover/autodiscover.xml", NULL, .handle = autodiscover_post, .open = true},
    {"POST", "/Autodiscover/Autodiscover.xml", NULL, .handle = autodiscover_post, .open = true},
    {"GET", "/.well-known/mta-sts.txt", NULL, .handle = mta_sts_get, .open = true},
};

/* Whether path matches this route; the variable part in *part. */
static bool fits(const struct route *route, struct slice path, struct slice *part) {
    struct slice head = slice_of(route->head), tail = slice_of(route->tail);
    *part = SLICE("");
    if (!route->tail) return slice_equal(path, head);
    if (!slice_starts(path, head) || path.n <= head.n + tail.n) return false;
    *part = slice_make(path.p + head.n, path.n - head.n - tail.n);
    return slice_equal(slice_skip(path, path.n - tail.n), tail);
}

static bool may_ask(const struct request *r) {
    const char *given = request_head(r, "Authorization");
    unsigned char want[32], have[32];
    if (!given || strncasecmp(given, "Bearer ", 7) != 0) return false;
    given += 7;
    while (*given == ' ') given++;
    /* hashes have equal lengths, so that the comparison takes constant time */
    crypto_generichash(want, sizeof want, (const unsigned char *)r->admin->token, strlen(r->admin->token), NULL, 0);
    crypto_generichash(have, sizeof have, (const unsigned char *)given, strlen(given), NULL, 0);
    return sodium_memcmp(want, have, sizeof want) == 0;
}

static bool take_body(struct request *r, const struct route *route) {
    const char *type = request_head(r, "Content-Type");
    if (!type || !slice_starts_nocase(slice_of(type), SLICE("application/json"))) {
        request_problem(r, 415, "send the body as Content-Type: application/json");
        return false;
    }
    json_error_t error;
    r->json = json_loadb(buf_str(&r->body), r->body.n, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(r->json)) {
        char detail[256];
        snprintf(detail, sizeof detail, "the body is not a JSON object: %.160s (line %d)",
                 r->json ? "it is not an object" : error.text, error.line);
        request_problem(r, 400, r->json ? "the body is not a JSON object" : detail);
        return false;
    }
    json_t *errors = fields_check(r->json, route->fields, route->field_count);
    if (errors) request_problem_fields(r, 422, "the body does not have the expected fields", errors);
    return !errors;
}

size_t route_body_max(const struct request *r) {
    struct slice path = slice_of(r->path), part;
    if (r->site == SITE_WEB || !may_ask(r)) return BODY_MAX;
    for (size_t i = 0; i < sizeof api_routes / sizeof *api_routes; i++)
        if (api_routes[i].message && strcmp(api_routes[i].method, r->method) == 0 && fits(&api_routes[i], path, &part))
            return MESSAGE_MAX;
    return BODY_MAX;
}

static bool take_message(struct request *r) {
    const char *type = request_head(r, "Content-Type");
    if (type && slice_starts_nocase(slice_of(type), SLICE("message/rfc822"))) return true;
    request_problem(r, 415, "send the body as Content-Type: message/rfc822");
    return false;
}

void route_request(struct request *r) {
    struct slice path = slice_of(r->path), part;
    const char *method = strcmp(r->method, "HEAD") == 0 ? "GET" : r->method; /* the library leaves the body out */
    const struct route *found = NULL, *other = NULL;
    struct buf allow = {0};
    bool web = r->site == SITE_WEB;
    const struct route *routes = web ? web_routes : api_routes;
    size_t count = web ? sizeof web_routes / sizeof *web_routes : sizeof api_routes / sizeof *api_routes;
    for (size_t i = 0; i < count && !found; i++) {
        if (!fits(&routes[i], path, &part)) continue;
        if (strcmp(routes[i].method, method) == 0) {
            found = &routes[i];
            continue;
        }
        other = &routes[i];
        if (allow.n) buf_add_str(&allow, ", ");
        buf_add_str(&allow, routes[i].method);
    }
    bool open = found ? found->open : other && other->open;
    if (!open && !web && slice_starts(path, SLICE("/api/")) && !may_ask(r)) {
        request_problem(r, 401, "send the header Authorization: Bearer with the content of the secret admin.token");
    } else if (!found && other) {
        request_problem(r, 405, "see the Allow header for the methods of this resource");
        request_header(r, "Allow", buf_str(&allow));
    } else if (!found) {
        request_problem(r, 404,
                        web ? "this path does not exist" : "this path does not exist: see /api/v1/openapi.json");
    } else {
        r->part = memory_copy(part);
        if (found->message ? take_message(r) : !found->fields || take_body(r, found)) found->handle(r);
    }
    buf_free(&allow);
}
