/* /api/v1/accounts and /api/v1/aliases. */
#include <stdlib.h>

#include "services/admin/admin.h"

static void on_object(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_answer(r, 200, json_deep_copy(reply));
}

/* The path of an address: bytes that are not allowed in a path segment are percent-encoded (RFC
 * 3986 §3.3). */
static void add_location(struct request *r, const char *collection, const char *address) {
    struct buf path = {0};
    buf_printf(&path, "/api/v1/%s/", collection);
    for (const char *c = address; *c; c++) {
        if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
            strchr("-._~@+!$&'()*,;=:", *c))
            buf_add_char(&path, *c);
        else
            buf_printf(&path, "%%%02X", (unsigned char)*c);
    }
    request_header(r, "Location", buf_str(&path));
    buf_free(&path);
}

static void made(struct request *r, int error, const json_t *reply, const char *collection) {
    if (error) {
        request_problem_bus(r, reply);
        return;
    }
    request_answer(r, 201, json_deep_copy(reply));
    add_location(r, collection, json_string_value(json_object_get(reply, "address")));
}

static void list(struct request *r, const char *verb) {
    const char *domain = request_query(r, "domain");
    if (!domain) {
        request_problem(r, 400, "name the domain: ?domain=example.org");
        return;
    }
    json_t *ask = json_pack("{s:s}", "domain", domain);
    if (!ask)
        request_problem(r, 400, "the domain is not UTF-8");
    else if (request_page(r, ask))
        request_ask(r, verb, ask, ASK_MS, on_object);
}

/* {"address": …} from the path, or NULL after answering. */
static json_t *ask_address(struct request *r) {
    json_t *ask = json_pack("{s:s}", "address", r->part);
    if (!ask) request_problem(r, 400, "the address is not UTF-8");
    return ask;
}

static void on_account_made(struct request *r, int error, const json_t *reply) { made(r, error, reply, "accounts"); }
void account_add_request(struct request *r) {
    request_ask(r, "accounts.account.add", json_copy(r->json), ASK_MS, on_account_made);
}
void account_list(struct request *r) { list(r, "accounts.account.list"); }

void account_get(struct request *r) {
    json_t *ask = ask_address(r);
    if (ask) request_ask(r, "accounts.account.get", ask, ASK_MS, on_object);
}

void account_patch(struct request *r) {
    json_t *ask = ask_address(r);
    if (!ask) return;
    json_object_update_missing(ask, r->json);
    request_ask(r, "accounts.account.set", ask, ASK_MS, on_object);
}

static void on_account_deleted(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_answer(r, 204, NULL);
}

/* The accounts service also deletes its mail, at once or as soon as the mailbox service is
 * available. */
void account_delete_request(struct request *r) {
    json_t *ask = ask_address(r);
    if (ask) request_ask(r, "accounts.account.delete", ask, ASK_MS, on_account_deleted);
}

/* The account as it is stored, for a backup; and an account from it. */

void account_record_get(struct request *r) {
    json_t *ask = ask_address(r);
    if (ask) request_ask(r, "accounts.account.record", ask, ASK_MS, on_object);
}

static void on_adopted(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_answer(r, 201, json_deep_copy(reply));
}

void account_record_put(struct request *r) {
    json_t *ask = ask_address(r);
    if (!ask) return;
    json_object_update_missing(ask, r->json);
    request_ask(r, "accounts.account.adopt", ask, ASK_MS, on_adopted);
}

/* aliases */

static void on_alias_made(struct request *r, int error, const json_t *reply) { made(r, error, reply, "aliases"); }
void alias_add(struct request *r) { request_ask(r, "accounts.alias.add", json_copy(r->json), ASK_MS, on_alias_made); }
void alias_list(struct request *r) { list(r, "accounts.alias.list"); }

void alias_get(struct request *r) {
    json_t *ask = ask_address(r);
    if (ask) request_ask(r, "accounts.alias.get", ask, ASK_MS, on_object);
}

static void on_alias_deleted(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_answer(r, 204, NULL);
}

void alias_delete(struct request *r) {
    json_t *ask = ask_address(r);
    if (ask) request_ask(r, "accounts.alias.delete", ask, ASK_MS, on_alias_deleted);
}
