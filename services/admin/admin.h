/* admin: the REST API, journeys, autoconfig, MTA-STS policies. Declarations shared in this folder.
 *
 * The API and the public pages (autoconfig, autodiscover, MTA-STS policies) have separate
 * listeners, each with its table of routes (routes.c), so that the public pages can be opened to
 * the internet without the API.
 *
 * No thread blocks: a request that needs another service is suspended in libmicrohttpd and resumed
 * when the bus answers. */
#ifndef POSTBUS_ADMIN_H
#define POSTBUS_ADMIN_H

#include <microhttpd.h>

#include "libcommon/base/buf.h"
#include "libcommon/service/service.h"

/* Bounds, with the reply beyond each. */
enum {
    BODY_MAX = 1024 * 1024,           /* 413 */
    MESSAGE_MAX = 50 * 1024 * 1024,   /* a body that is a message: 413 */
    MESSAGES_MAX = 256 * 1024 * 1024, /* bytes of messages that a worker holds for its clients: 503 */
    CONNECTIONS_MAX = 1024,           /* for each worker and listener: further ones are closed */
    CONNECTION_SECONDS = 30,          /* idle time: then closed */
    CONNECTION_MEMORY = 32768,        /* request line and header: 414 or 431 */
    ASK_MS = 15000,                   /* time for another service's answer: then 503 */
    LONG_ASK_MS = 60000,              /* the same, for creating keys and deleting a mailbox */
    PAGE_MAX = 1000,                  /* items of a listing */
    JOURNEY_EVENTS_MAX = 2000,        /* events of one journey; later ones are left out */
    RETRY_AFTER_SECONDS = 5,
};

struct request;
struct admin;

enum { LISTENERS = 4 };
enum http_site { SITE_API, SITE_WEB };

struct http_listener {
    struct admin *admin;
    enum http_site site;
    struct MHD_Daemon *daemon; /* NULL: off */
    struct event *turn;
};

struct admin {
    struct worker *worker;
    struct http_listener listeners[LISTENERS];
    struct https *https; /* NULL: no certificate, no TLS */
    struct event *clock;
    struct request *requests; /* all unfinished requests */
    int suspended;
    bool draining;
    char *token;
    const char *mta_sts;  /* mode of the policy that is served for every hosted domain */
    size_t message_bytes; /* messages that are being read or written */
    bool journal_ready;   /* the stream of events exists, as far as this worker knows */
    bool journal_busy;
    struct event *journal_clock;
    struct health *health;
};

typedef void request_reply_fn(struct request *r, int error, const json_t *reply);

/* One HTTP request, from its header to its last byte. */
struct request {
    struct request *next, *previous;
    struct admin *admin;
    enum http_site site;
    struct MHD_Connection *connection;
    char *method, *path;
    struct buf body;
    size_t body_max, message_bytes; /* message_bytes: its part of the worker's */
    bool too_big, no_room, started, suspended, finished;
    json_t *json; /* the body, if the route has one */
    char *part;   /* the variable part of the path, such as an address */
    struct MHD_Response *response;
    unsigned status;
    request_reply_fn *then;
    json_t *state;         /* state of the handler */
    struct request **held; /* a pointer to this request that is set to NULL when it ends; NULL: none */
};

/* http.c */

/* Opens a listener of a worker on the setting's address for a site, with TLS (a->https) or
 * without. */
void http_listen(struct admin *a, enum http_site site, bool tls, const char *setting, const char *fallback);
/* Stops listening; running requests continue. */
void http_quiesce(struct admin *a);
void http_close(struct admin *a);

/* request.c */

/* Answers the request. Exactly one of these is called for each request. request_answer takes
 * ownership of body (NULL: no content). */
void request_answer(struct request *r, unsigned status, json_t *body);
void request_answer_text(struct request *r, unsigned status, const char *type, struct slice text);
void request_problem(struct request *r, unsigned status, const char *detail);
/* A problem of certain fields: errors is an array of {"pointer","detail"}; ownership is taken. */
void request_problem_fields(struct request *r, unsigned status, const char *detail, json_t *errors);
/* Answers with the problem of a failed or refused bus request. */
void request_problem_bus(struct request *r, const json_t *reply);
/* Adds a header to the answer that was given. */
void request_header(struct request *r, const char *name, const char *value);

/* Sends a request to another service; then() gets the answer. Takes ownership of ask. */
void request_ask(struct request *r, const char *verb, json_t *ask, int timeout_ms, request_reply_fn *then);
/* Suspends until request_answer or request_problem is called (for waits other than bus
 * requests). */
void request_wait(struct request *r);
/* Reserves room for a message of n bytes until the request ends; false: MESSAGES_MAX is reached. */
bool request_take_room(struct request *r, size_t n);
/* NULL when it is missing. */
const char *request_query(const struct request *r, const char *name);
const char *request_head(const struct request *r, const char *name);
/* ?limit= and ?after= into ask: false after answering 400. */
bool request_page(struct request *r, json_t *ask);

/* routes.c: finds the handler of a complete request and calls it. */
void route_request(struct request *r);
/* The limit of the body of a request whose header has arrived. */
size_t route_body_max(const struct request *r);

/* problem.c: an RFC 9457 object. errors: ownership is taken; NULL: none. */
json_t *problem_create(unsigned status, const char *detail, json_t *errors);
/* The status for an error code of the bus ("not_found" …; "" for no answer). */
unsigned problem_status(const char *code);

/* fields.c: checks of request bodies. */
enum field_type { FIELD_TEXT, FIELD_BYTES, FIELD_NUMBER, FIELD_TEXTS, FIELD_OBJECT, FIELD_BOOL };
struct field {
    const char *name;
    enum field_type type;
    bool required;
};
/* An array of {"pointer","detail"} for the faults of body, NULL when there are none. */
json_t *fields_check(const json_t *body, const struct field *fields, size_t count);

/* Handlers, by family */
void domain_add(struct request *r);
void domain_list(struct request *r);
void domain_get(struct request *r);
void domain_delete(struct request *r);
void domain_patch(struct request *r);
void domain_dns(struct request *r);
void domain_check_get(struct request *r);
void domain_check_post(struct request *r);
void account_add_request(struct request *r);
void account_list(struct request *r);
void account_get(struct request *r);
void account_patch(struct request *r);
void account_delete_request(struct request *r);
void account_record_get(struct request *r);
void account_record_put(struct request *r);
void folders_get(struct request *r);
void folder_put(struct request *r);
void messages_get(struct request *r);
void message_get(struct request *r);
void message_post(struct request *r);
void removed_get(struct request *r);
void restore_post(struct request *r);
void undo_put(struct request *r);
void key_list(struct request *r);
void key_rotate(struct request *r);
void alias_add(struct request *r);
void alias_list(struct request *r);
void alias_get(struct request *r);
void alias_delete(struct request *r);
void queue_list_request(struct request *r);
void queue_retry_request(struct request *r);
void queue_hold_request(struct request *r);
void queue_release_request(struct request *r);
void queue_priority_request(struct request *r);
void queue_retry_domain_request(struct request *r);
void queue_delete_request(struct request *r);
void journey_get(struct request *r);
void reports_dmarc(struct request *r);
void reports_tls(struct request *r);
void reports_failures(struct request *r);
void reports_unreadable(struct request *r);
void report_get(struct request *r);
void reports_summary(struct request *r);
void reports_sent(struct request *r);
void verdict_get(struct request *r);
void health_get(struct request *r);
void openapi_get(struct request *r);
void autoconfig_get(struct request *r);
void autodiscover_post(struct request *r);
void mta_sts_get(struct request *r);
/* POSTBUS_MTA_STS: "enforce", "testing" or "none"; another value ends the process. */
const char *mta_sts_mode_setting(void);

/* journal.c: the JetStream stream of postbus.mail.> and reads of it. */
void journal_start(struct admin *a);
void journal_stop(struct admin *a);
/* Reads the events of the message whose id is r->part (an array of CloudEvents, at least one, valid
 * during the call); answers the request itself when there are none. */
typedef void journal_fn(struct request *r, const json_t *events);
void journal_read(struct request *r, journal_fn *then);

/* journey.c: events (an array of CloudEvents of one message, in any order) as the ten steps; a new
 * array. */
json_t *journey_steps(const json_t *events);

/* words.c: details of a step in words, from recorded data only; each function appends to lines. The
 * results of a verdict with their reasons; the forwarding of each recipient's copy of an accepted
 * message (data of mail.accepted); the TLS authentication of the hosts of a route (data of
 * mail.routed). */
void words_of_verdict(json_t *lines, const json_t *verdict);
void words_of_recipients(json_t *lines, const json_t *accepted);
void words_of_route(json_t *lines, const json_t *routed);

#endif
