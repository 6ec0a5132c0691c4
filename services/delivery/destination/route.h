/* The route of a domain's mail: the reply of verifier.route, shared by all messages to the domain
 * that ask within a second (the verifier caches it as long as DNS allows). */
#ifndef POSTBUS_DELIVERY_ROUTE_H
#define POSTBUS_DELIVERY_ROUTE_H

#include <jansson.h>

#include "libcommon/bus/bus.h"
#include "libcommon/mail/domain.h"

struct routes;

/* answer NULL: the verifier cannot be reached. Otherwise the reply of verifier.route; a callee that
 * keeps it takes a reference. routed: the data of the event mail.routed about it (JSON); empty when
 * there is no route. Never called before route_ask returns. */
typedef void route_fn(void *ctx, json_t *answer, struct slice routed);

struct routes *routes_create(struct event_base *base, struct bus *b);
/* Must be called after the bus was destroyed. Waiting callbacks are not called. */
void routes_destroy(struct routes *r);
/* Whether a request to the verifier is pending. */
bool routes_asking(const struct routes *r);
void route_ask(struct routes *r, struct slice domain, route_fn *done, void *ctx);

#endif
