/* Shared declarations of the files that implement arc.h; private to them. */
#ifndef POSTBUS_TRUST_ARC_PRIVATE_H
#define POSTBUS_TRUST_ARC_PRIVATE_H

#include "libcommon/trust/arc/arc.h"
#include "libcommon/trust/dkim/dkim_private.h"

/* One instance: the three fields of an ARC set, each once (§4.2). */
struct arc_set {
    struct slice results, message, seal; /* raw fields; p is NULL: missing */
    struct slice payload;                /* of results, after "i=N;" */
    struct dkim_signature ams, as;
};

struct arc_chain {
    struct arc_set sets[ARC_SETS_MAX];
    size_t count; /* the highest instance */
    bool ended;   /* the highest seal says cv=fail */
};

/* Sorts a header's fields into sets (§5.2 steps 1 to 3): Returns NULL, or the fault of the
 * structure; *out then has the sets that could be read. */
const char *arc_collect(struct arena *arena, struct slice header, struct arc_chain *out);

/* The canonical fields of a chain's sets, in the order in which they are sealed (§5.1.1), each
 * once. */
struct arc_sealed {
    struct buf text;
    size_t seal_at[ARC_SETS_MAX]; /* where the ARC-Seal of each instance begins */
};
void arc_sealed_make(const struct arc_set sets[], size_t count, struct arc_sealed *out);
/* Adds the data that the seal of an instance signs: all fields before it, and itself with an empty
 * b=. */
void arc_sealed_data(const struct arc_sealed *s, const struct arc_set sets[], size_t instance, struct buf *out);

#endif
