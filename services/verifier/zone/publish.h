/* Keeps the zones of all hosted domains on the authoritative DNS servers up to date
 * (POSTBUS_DNS_SERVER): at once after account.changed, and for all domains at start and every
 * POSTBUS_DNS_PUBLISH_SECONDS, because events may be lost. One domain at a time, on the pool; a
 * failed task is tried again after PUBLISH_RETRY_SECONDS.
 *
 * The published records are stored in Redis (v:published:<domain>) before the servers are updated,
 * so that obsolete records are found and removed, also after a kill at any instruction. One event
 * or one list is not enough to remove a zone: accounts must confirm that the domain does not exist.
 * A zone that is only missing from the list is removed after POSTBUS_DNS_GONE_SECONDS, and never
 * when more zones would be removed than remain. */
#ifndef POSTBUS_VERIFIER_PUBLISH_H
#define POSTBUS_VERIFIER_PUBLISH_H

#include "services/verifier/verifier.h"
#include "services/verifier/zone/update.h"

enum {
    PUBLISH_EVERY_SECONDS = 3600,
    PUBLISH_RETRY_SECONDS = 15,
    PUBLISH_START_SECONDS = 1,
    PUBLISH_GONE_SECONDS = 86400
};

/* NULL when POSTBUS_DNS_SERVER is empty: nothing is published. Ends the process when the secret
 * tsig.key is missing or malformed. */
struct publisher *publisher_create(struct verifier *v);
void publisher_destroy(struct publisher *p);

/* The servers of POSTBUS_DNS_SERVER ("knot@53", several comma-separated) with the TSIG keys of the
 * secret tsig.key: one on each line, the last one for all further servers; and POSTBUS_DNS_CATALOG.
 * The texts are in *secret, which the caller frees after the last use. */
struct publish_servers {
    size_t count;
    struct update_server servers[UPDATE_SERVERS_MAX];
    char *addresses, *secret;
};
/* false: POSTBUS_DNS_SERVER is empty. Ends the process when the settings are invalid. */
bool publish_servers_read(struct publish_servers *out);
void publish_servers_free(struct publish_servers *s);

/* Which of the zones in the catalog may be removed: those that have been missing from the list of
 * hosted domains for `grace` ms. hosted: {"<domain>":true}; seen: {"<zone>":ms} of when each was
 * first missed, kept up to date here. NULL and *reason when none may be removed because the lists
 * are not plausible. Pure. */
json_t *publish_choose_gone(const json_t *hosted, const json_t *catalog, json_t *seen, int64_t now_ms, int64_t grace_ms,
                            const char **reason);

#endif
