/* Reads Authentication-Results (RFC 8601 §2.2): who says it, and each result. Pure; foreign bytes welcome. */
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

/* Takes the authserv-id, and the version behind it, off a field's value: 0, or -1 when there is none. */
int results_authserv_id(struct arena *arena, struct slice *value, struct slice *id);
/* Takes the next result off: 1; 0 at the end or for "none"; -1 when what stands there is malformed. */
int results_next(struct arena *arena, struct slice *value, struct results_one *out);
/* The value of a property; empty when it is not there. */
struct slice results_property(const struct results_one *r, const char *type, const char *name);

#endif
