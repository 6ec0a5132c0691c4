/* The bus of one worker: a NATS connection whose messages come to callbacks on the worker's own
 * loop.
 *
 * Each service answers its requests as a queue group. A request without an answer in time, or while
 * NATS is not available, ends with BUS_UNAVAILABLE. Events are CloudEvents; they may be lost, late
 * or repeated, so nothing may depend on one.
 *
 * There are two kinds of functions. Those with json_t are for rare requests. Those whose names end
 * in _text or _raw use JSON as bytes: frequent messages are written and read by typed codecs
 * (libcommon/codec), and a handler that needs only the subject need not decode the message. The
 * messages are the same. */
#ifndef POSTBUS_BUS_BUS_H
#define POSTBUS_BUS_BUS_H

#include <event2/event.h>
#include <jansson.h>

#include "libcommon/base/slice.h"

struct bus;

/* service names the source of events and the queue group. Connects in the background and again when
 * lost. */
struct bus *bus_create(struct event_base *base, const char *url, const char *service, const char *user,
                       const char *password);
/* Closes the bus: waiting requests end with BUS_UNAVAILABLE, and published messages are flushed.
 * Messages that are published, answered or requested afterwards are dropped, so that callbacks of
 * the store, which is closed later, may still answer. */
void bus_close(struct bus *b);
/* As bus_close(), and frees it. */
void bus_destroy(struct bus *b);
bool bus_is_ready(const struct bus *b);

/* Events */

/* Publishes a CloudEvent on `postbus.<event>.<about>`, e.g. bus_publish(b, "mail.accepted", id,
 * data). Takes ownership of data. Never blocks. */
void bus_publish(struct bus *b, const char *event, struct slice about, json_t *data);

/* The same with data's JSON text, which is copied. */
void bus_publish_text(struct bus *b, const char *event, struct slice about, struct slice data);
/* Publishes `postbus.<subject>` with an empty payload, e.g. bus_wake(b, "queue.due.3"): a hint that
 * there is work, which the receiver would otherwise find later by its timer. Each subject is
 * published at most once in a turn of the loop, and at most 64 different ones. */
void bus_wake(struct bus *b, const char *subject);

/* about: the subject's last token; data: the event's data, valid during the call. */
typedef void bus_event_fn(void *ctx, struct slice about, const json_t *data);
/* Subscribes to `postbus.<event>.<about>`, with wildcards, e.g. "mail.accepted.*". With group, one
 * worker of all replicas gets each event; without, every worker does. */
void bus_hear(struct bus *b, const char *event, bool group, bus_event_fn *heard, void *ctx);

/* about: the subject's last token; bytes: the message as received: the JSON of a CloudEvent, or
 * empty (bus_wake). Both are valid during the call. */
typedef void bus_raw_fn(void *ctx, struct slice about, struct slice bytes);
/* As bus_hear, without decoding. */
void bus_hear_raw(struct bus *b, const char *event, bool group, bus_raw_fn *heard, void *ctx);

/* As bus_hear without group, for knowledge that the events keep up to date. missed(ctx) is called
 * on the loop when events may have been lost: after the connection was lost and is there again, or
 * after messages were dropped. The knowledge must then be treated as unknown, and be asked for again
 * (requests that are sent from missed() on are answered after the subscription is in force again).
 * An event that its publisher could not send is not noticed here, so that the knowledge must also
 * have a time after which it is asked for again. */
typedef void bus_missed_fn(void *ctx);
void bus_follow(struct bus *b, const char *event, bus_event_fn *heard, bus_missed_fn *missed, void *ctx);

/* Subscribes to one subject or pattern, with a handle to end the subscription: for sessions (a
 * user's mailbox.changed). */
struct bus_subscription;
struct bus_subscription *bus_subscribe(struct bus *b, const char *event, bus_event_fn *heard, void *ctx);
struct bus_subscription *bus_subscribe_raw(struct bus *b, const char *event, bus_raw_fn *heard, void *ctx);
void bus_unsubscribe(struct bus_subscription *s);

/* Requests */

enum bus_error {
    BUS_OK = 0,
    BUS_UNAVAILABLE = -1, /* no answer, no NATS, or the service answered unavailable or busy:
                             temporary */
    BUS_REFUSED = -2,     /* the service answered an error: see reply.error.code */
};

/* reply: the object of the answer (with BUS_REFUSED it has "error"); NULL when unavailable without
 * an answer. Valid during the call. */
typedef void bus_reply_fn(void *ctx, int error, const json_t *reply);

/* Sends the request `postbus.rpc.<verb>`, e.g. "accounts.login". Takes ownership of ask. The
 * callback is called exactly once, never before this returns. Returns a ticket for bus_cancel,
 * never 0. */
uint64_t bus_request(struct bus *b, const char *verb, json_t *ask, int timeout_ms, bus_reply_fn *done, void *ctx);

/* reply: the answer's JSON text (also with BUS_REFUSED); empty when unavailable without one. Valid
 * during the call. An answer is an error when it begins with {"error", as bus_refuse writes it;
 * other answers are not decoded. */
typedef void bus_text_fn(void *ctx, int error, struct slice reply);
/* As bus_request, with JSON text, which is copied. */
uint64_t bus_request_text(struct bus *b, const char *verb, struct slice ask, int timeout_ms, bus_text_fn *done,
                          void *ctx);

/* Prevents the callback of this request. An unknown or finished ticket is ignored. */
void bus_cancel(struct bus *b, uint64_t ticket);
/* "not_found", "denied", …: the code of an error reply, "" when it is not one. */
const char *bus_error_code(const json_t *reply);
enum { BUS_CODE_BYTES = 32 };
/* The same of an answer's text; returns out. */
const char *bus_error_code_text(struct slice reply, char out[BUS_CODE_BYTES]);

/* A request that waits for its answer. Answer each exactly once, now or later. */
struct bus_call;
typedef void bus_answer_fn(void *ctx, struct bus_call *call, const json_t *ask);
/* Answers `postbus.rpc.<service>.<verb>` as a member of the service's queue group. Several verbs
 * may be served. */
void bus_serve(struct bus *b, const char *verb, bus_answer_fn *answer, void *ctx);

/* ask: the bytes of the request, valid during the call; not checked to be JSON. */
typedef void bus_answer_text_fn(void *ctx, struct bus_call *call, struct slice ask);
void bus_serve_text(struct bus *b, const char *verb, bus_answer_text_fn *answer, void *ctx);

/* Takes ownership of reply. */
void bus_answer(struct bus_call *call, json_t *reply);
/* reply: JSON text, which is copied. */
void bus_answer_text(struct bus_call *call, struct slice reply);
/* {"error":{"code":…,"message":…}} */
void bus_refuse(struct bus_call *call, const char *code, const char *message);

#endif
