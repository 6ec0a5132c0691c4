/* /api/v1/domains. A forced deletion takes the accounts first, each with its mail, so that nothing stays behind that
 * nobody owns. */
#include <stdio.h>

#include "libcommon/mail/domain.h"
#include "services/admin/admin.h"

static void on_made(struct request *r, int error, const json_t *reply) {
    if (error) {
        request_problem_bus(r, reply);
        return;
    }
    char where[DOMAIN_BYTES + 32];
    snprintf(where, sizeof where, "/api/v1/domains/%s", json_string_value(json_object_get(reply, "domain")));
    request_answer(r, 201, json_deep_copy(reply));
    request_header(r, "Location", where);
}

void domain_add(struct request *r) { request_ask(r, "accounts.domain.add", json_copy(r->json), LONG_ASK_MS, on_made); }

static void on_object(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_answer(r, 200, json_deep_copy(reply));
}

void domain_list(struct request *r) {
    json_t *ask = json_object();
    if (request_page(r, ask)) request_ask(r, "accounts.domain.list", ask, ASK_MS, on_object);
}

void domain_patch(struct request *r) {
    json_t *ask = json_copy(r->json);
    json_object_set_new(ask, "domain", json_string(r->part));
    request_ask(r, "accounts.domain.set", ask, ASK_MS, on_object);
}

void domain_get(struct request *r) {
    request_ask(r, "accounts.domain.get", json_pack("{s:s}", "domain", r->part), ASK_MS, on_object);
}

/* delete
 * ------------------------------------------------------------------------------------------------------------------------------------
 */

static void on_deleted(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_answer(r, 204, NULL);
}

static void next_account(struct request *r);

static void on_mail_deleted(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply); /* asked again, it goes on where it stopped */
    else
        next_account(r);
}

static void on_account_deleted(struct request *r, int error, const json_t *reply) {
    if (error && strcmp(bus_error_code(reply), "not_found") != 0)
        request_problem_bus(r, reply);
    else if (error)
        next_account(r);
    else
        request_ask(r, "mailbox.delete", json_pack("{s:O}", "user", json_object_get(reply, "user")), LONG_ASK_MS,
                    on_mail_deleted);
}

static void on_accounts(struct request *r, int error, const json_t *reply) {
    const json_t *accounts = json_object_get(reply, "accounts");
    if (error) {
        request_problem_bus(r, reply);
    } else if (json_array_size(accounts) == 0) {
        request_ask(r, "accounts.domain.delete", json_pack("{s:s,s:b}", "domain", r->part, "force", 1), ASK_MS,
                    on_deleted);
    } else {
        json_decref(r->state);
        r->state = json_deep_copy(accounts);
        next_account(r);
    }
}

static void next_account(struct request *r) {
    size_t left = json_array_size(r->state);
    if (left == 0) {
        request_ask(r, "accounts.account.list", json_pack("{s:s,s:i}", "domain", r->part, "limit", 200), ASK_MS,
                    on_accounts);
        return;
    }
    json_t *ask = json_pack("{s:O}", "address", json_object_get(json_array_get(r->state, left - 1), "address"));
    json_array_remove(r->state, left - 1);
    request_ask(r, "accounts.account.delete", ask, ASK_MS, on_account_deleted);
}

void domain_delete(struct request *r) {
    const char *force = request_query(r, "force");
    bool forced =
        MHD_lookup_connection_value_n(r->connection, MHD_GET_ARGUMENT_KIND, "force", 5, NULL, NULL) == MHD_YES &&
        (!force || !*force || strcmp(force, "true") == 0 || strcmp(force, "1") == 0);
    if (forced)
        next_account(r);
    else
        request_ask(r, "accounts.domain.delete", json_pack("{s:s}", "domain", r->part), ASK_MS, on_deleted);
}
