/* The domains of this site, as accounts tells them, page by page. */
#ifndef POSTBUS_VERIFIER_DOMAIN_LIST_H
#define POSTBUS_VERIFIER_DOMAIN_LIST_H

#include "libcommon/bus/bus.h"

enum { DOMAIN_LIST_MAX = 1000000 };

/* Part of whoever reads it; zeroed, it is not being read. Its fields are domain_list.c's. */
struct domain_list {
    struct bus *bus;
    uint64_t ticket;
    size_t count;
    void (*each)(void *ctx, const char *domain);
    void (*done)(void *ctx, bool whole);
    void *ctx;
};

/* each: for every domain, at most DOMAIN_LIST_MAX; done: once, at the end; whole is false when a page could not be had.
 * Neither is called before this returns. Changes nothing while it is being read. */
void domain_list_read(struct domain_list *l, struct bus *bus, void (*each)(void *ctx, const char *domain),
                      void (*done)(void *ctx, bool whole), void *ctx);
bool domain_list_is_read(const struct domain_list *l);
/* No callback comes any more. */
void domain_list_stop(struct domain_list *l);

#endif
