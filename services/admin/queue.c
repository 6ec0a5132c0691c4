/* /api/v1/queue: the messages that wait for delivery. */
#include "libcommon/base/ulid.h"
#include "services/admin/admin.h"

static void on_list(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_answer(r, 200, json_deep_copy(reply));
}

void queue_list_request(struct request *r) {
    json_t *ask = json_object();
    const char *domain = request_query(r, "domain"), *which = request_query(r, "which");
    if (which && strcmp(which, "due") != 0 && strcmp(which, "held") != 0 && strcmp(which, "dead") != 0) {
        json_decref(ask);
        request_problem(r, 400, "which is due, held or dead");
        return;
    }
    if (domain && *domain) json_object_set_new(ask, "domain", json_string(domain));
    if (which) json_object_set_new(ask, "which", json_string(which));
    if (request_page(r, ask)) request_ask(r, "delivery.queue.list", ask, ASK_MS, on_list);
}

static void on_done(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_answer(r, 204, NULL);
}

static void with_id(struct request *r, const char *verb) {
    if (ulid_is_valid(slice_of(r->part)))
        request_ask(r, verb, json_pack("{s:s}", "id", r->part), ASK_MS, on_done);
    else
        request_problem(r, 400,
                        "this is not a message id: 26 characters as in the Received field or the reply to DATA");
}

void queue_retry_request(struct request *r) { with_id(r, "delivery.queue.retry"); }
void queue_hold_request(struct request *r) { with_id(r, "delivery.queue.hold"); }
void queue_release_request(struct request *r) { with_id(r, "delivery.queue.release"); }
void queue_delete_request(struct request *r) { with_id(r, "delivery.queue.delete"); }

void queue_priority_request(struct request *r) {
    const json_t *priority = json_object_get(r->json, "priority");
    json_int_t n = json_integer_value(priority);
    if (!ulid_is_valid(slice_of(r->part)))
        request_problem(r, 400,
                        "this is not a message id: 26 characters as in the Received field or the reply to DATA");
    else if (!json_is_integer(priority) || n < -9 || n > 9)
        request_problem(r, 400, "priority is a number from -9 to 9");
    else
        request_ask(r, "delivery.queue.priority", json_pack("{s:s,s:I}", "id", r->part, "priority", n), ASK_MS,
                    on_done);
}

void queue_retry_domain_request(struct request *r) {
    const char *domain = json_string_value(json_object_get(r->json, "domain"));
    if (domain && *domain && strlen(domain) <= 255)
        request_ask(r, "delivery.queue.retry", json_pack("{s:s}", "domain", domain), LONG_ASK_MS, on_list);
    else
        request_problem(r, 400, "domain is the domain of the recipients to try again");
}
