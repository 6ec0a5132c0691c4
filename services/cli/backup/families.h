/* Lists of the API that come in pages. */
#ifndef POSTBUS_CLI_FAMILIES_H
#define POSTBUS_CLI_FAMILIES_H

#include "services/cli/cli.h"

/* Calls one() for each item of /api/v1/<family>, of this domain unless it is NULL, until it answers other than 0.
 * Returns that, or the exit status of a call that failed. */
typedef int family_fn(void *ctx, const json_t *item);
int family_each(struct cli *c, const char *family, const char *domain, family_fn *one, void *ctx);

#endif
