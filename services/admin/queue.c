/* /api/v1/queue: what waits to be delivered. */
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
void queue_delete_request(struct request *r) { with_id(r, "delivery.queue.delete"); }
