/* /api/v1/domains. A forced deletion also deletes the accounts and their mail. */
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

/* delete */

static void on_deleted(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_answer(r, 204, NULL);
}

/* With ?force the accounts service also deletes its accounts and their mail. */
void domain_delete(struct request *r) {
    const char *force = request_query(r, "force");
    bool forced =
        MHD_lookup_connection_value_n(r->connection, MHD_GET_ARGUMENT_KIND, "force", 5, NULL, NULL) == MHD_YES &&
        (!force || !*force || strcmp(force, "true") == 0 || strcmp(force, "1") == 0);
    request_ask(r, "accounts.domain.delete", json_pack("{s:s,s:b}", "domain", r->part, "force", (int)forced), ASK_MS,
                on_deleted);
}
