/* The zones whose servers the operator sets (POSTBUS_RESOLVER_STUBS). Their content is trusted like
 * a setting: a host in one of them may have an address that is not public, as in a split-horizon or
 * a test network. Pure. */
#ifndef POSTBUS_VERIFIER_STUB_ZONES_H
#define POSTBUS_VERIFIER_STUB_ZONES_H

#include "libcommon/base/slice.h"

/* Whether a name is in one of the zones of the setting's text, "zone=address[@port],…": the zone
 * itself or a name below it, case-insensitive, with or without a final dot. */
bool stub_zones_have(const char *stubs, struct slice name);

#endif
