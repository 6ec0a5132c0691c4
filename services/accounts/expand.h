/* Expands an address through aliases: breadth first over a growing list of addresses, with bounds
 * on its length and depth, so that a loop of aliases ends. The addresses of one depth are looked up
 * together, with one call for each domain. */
#ifndef POSTBUS_ACCOUNTS_EXPAND_H
#define POSTBUS_ACCOUNTS_EXPAND_H

#include "services/accounts/accounts.h"

struct expansion;
/* The expansion is valid until expansion_free. */
typedef void expansion_fn(struct expansion *x);

struct target {
    struct mail_address address;
    int depth;
};

struct expansion {
    struct ask *ask;
    json_t *users;       /* {"user","address"} of each account */
    json_t *remote;      /* addresses elsewhere */
    bool first_unknown;  /* the address itself does not exist */
    bool first_remote;   /* its domain is not hosted here */
    const char *problem; /* in words: it leads to too many addresses or through too many aliases;
                            NULL: complete */
    /* of an alias that is about to be made */
    bool to_itself;                  /* a target is the alias itself */
    char missing[ADDRESS_BYTES_MAX]; /* a target at a hosted domain that does not exist; "" for
                                        none */

    /* expand.c's own */
    expansion_fn *done;
    bool defining;
    struct target *targets;
    size_t count, level; /* those from `level` on are of the depth that is being looked up */
    json_t *seen, *seen_users;
    size_t calls;
    int error;
};

/* Expands a->address. A store error refuses the ask, and done is not called. */
void expand(struct ask *a, expansion_fn *done);
/* Expands targets (an array of normal addresses) as those of the alias a->address, independent of
 * its present targets. */
void expand_alias(struct ask *a, const json_t *targets, expansion_fn *done);
void expansion_free(struct expansion *x);

#endif
