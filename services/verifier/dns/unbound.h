/* libunbound set up from our settings. */
#ifndef POSTBUS_VERIFIER_UNBOUND_H
#define POSTBUS_VERIFIER_UNBOUND_H

#include <unbound.h>

#include "services/verifier/dns/resolver.h"

/* A context on this loop; NULL after logging the fault of the settings. */
struct ub_ctx *unbound_create(struct event_base *base, const struct resolver_settings *settings);

#endif
