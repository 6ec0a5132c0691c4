/* Answers of handlers, and their questions to other services. */
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "services/admin/admin.h"

bool request_take_room(struct request *r, size_t n) {
    if (r->admin->message_bytes + n > MESSAGES_MAX) return false;
    r->admin->message_bytes += n;
    r->message_bytes += n;
    return true;
}

void request_wait(struct request *r) {
    if (r->suspended || r->response) return;
    r->suspended = true;
    MHD_suspend_connection(r->connection);
}

/* Queues the answer, and resumes the connection if it is suspended. */
static void respond(struct request *r, unsigned status, struct MHD_Response *response, const char *type) {
    if (r->response) {
        MHD_destroy_response(response);
        return;
    }
    r->status = status;
    r->response = response;
    if (type) request_header(r, "Content-Type", type);
    request_header(r, "Cache-Control", "no-store");
    request_header(r, "X-Content-Type-Options", "nosniff");
    if (status == 401) request_header(r, "WWW-Authenticate", "Bearer realm=\"postbus\"");
    if (status == 503) request_header(r, "Retry-After", "5");
    if (r->suspended) {
        r->suspended = false;
        MHD_resume_connection(r->connection);
        event_active(r->admin->clock, EV_TIMEOUT, 0);
    }
}

void request_header(struct request *r, const char *name, const char *value) {
    MHD_add_response_header(r->response, name, value);
}

void request_answer_text(struct request *r, unsigned status, const char *type, struct slice text) {
    respond(r, status, MHD_create_response_from_buffer_copy(text.n, text.p), type);
}

static void answer_json(struct request *r, unsigned status, json_t *body, const char *type) {
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (!text) text = memory_copy(SLICE("{}"));
    request_answer_text(r, status, type, slice_of(text));
    free(text);
}

void request_answer(struct request *r, unsigned status, json_t *body) {
    if (body)
        answer_json(r, status, body, "application/json");
    else
        respond(r, status, MHD_create_response_empty(MHD_RF_NONE), NULL);
}

void request_problem_fields(struct request *r, unsigned status, const char *detail, json_t *errors) {
    answer_json(r, status, problem_create(status, detail, errors), "application/problem+json");
}

void request_problem(struct request *r, unsigned status, const char *detail) {
    request_problem_fields(r, status, detail, NULL);
}

void request_problem_bus(struct request *r, const json_t *reply) {
    const char *message = json_string_value(json_object_get(json_object_get(reply, "error"), "message"));
    request_problem(r, problem_status(bus_error_code(reply)),
                    message ? message : "a part of the system does not answer: try again");
}

/* Asking */

static void on_reply(void *ctx, int error, const json_t *reply) {
    struct request *r = ctx;
    r->then(r, error, reply);
}

void request_ask(struct request *r, const char *verb, json_t *ask, int timeout_ms, request_reply_fn *then) {
    r->then = then;
    bus_request(r->admin->worker->bus, verb, ask, timeout_ms, on_reply, r);
}

const char *request_query(const struct request *r, const char *name) {
    return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}
const char *request_head(const struct request *r, const char *name) {
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

bool request_page(struct request *r, json_t *ask) {
    const char *limit = request_query(r, "limit"), *after = request_query(r, "after");
    uint64_t n = 100;
    if (limit && (slice_to_u64(slice_of(limit), PAGE_MAX, &n) != 0 || n == 0)) {
        json_decref(ask);
        request_problem(r, 400, "limit is a number from 1 to 1000");
        return false;
    }
    json_object_set_new(ask, "limit", json_integer((json_int_t)n));
    if (after) json_object_set_new(ask, "after", json_string(after));
    return true;
}
