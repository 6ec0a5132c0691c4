/* Where a domain's mail goes: verifier.route's answer, shared by all messages to the domain that ask within a second
 * (the verifier keeps it for as long as DNS allows). */
#ifndef POSTBUS_DELIVERY_ROUTE_H
#define POSTBUS_DELIVERY_ROUTE_H

#include <jansson.h>

#include "libcommon/bus/bus.h"
#include "libcommon/mail/domain.h"

struct routes;

/* answer NULL: the verifier cannot be reached, a fault of ours. Else verifier.route's reply; whoever keeps it takes a
 * reference. Never called before route_ask returns. */
typedef void route_fn(void *ctx, json_t *answer);

struct routes *routes_create(struct event_base *base, struct bus *b);
/* After the bus is gone. Waiting callbacks do not come any more. */
void routes_destroy(struct routes *r);
/* Whether a question to the verifier is on its way. */
bool routes_asking(const struct routes *r);
void route_ask(struct routes *r, struct slice domain, route_fn *done, void *ctx);

#endif
