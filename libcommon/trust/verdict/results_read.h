/* Reads Authentication-Results (RFC 8601 §2.2): its author (authserv-id) and each result. Pure;
 * accepts any bytes. */
#ifndef POSTBUS_TRUST_RESULTS_READ_H
#define POSTBUS_TRUST_RESULTS_READ_H

#include "libcommon/base/arena.h"

enum { RESULTS_PROPERTIES_MAX = 16 };

struct results_property {
    struct slice type, name, value; /* smtp . mailfrom = value; unquoted */
};
struct results_one {
    struct slice method, result, reason; /* method without its version */
    size_t property_count;               /* further ones are left out */
    struct results_property properties[RESULTS_PROPERTIES_MAX];
};

/* Removes the authserv-id, and the version after it, from a field's value: 0, or -1 when there is
 * none. */
int results_authserv_id(struct arena *arena, struct slice *value, struct slice *id);
/* Removes the next result: 1; 0 at the end or for "none"; -1 when it is malformed. */
int results_next(struct arena *arena, struct slice *value, struct results_one *out);
/* The value of a property; empty when it is missing. */
struct slice results_property(const struct results_one *r, const char *type, const char *name);

#endif
