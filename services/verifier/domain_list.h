/* Reads the domains of this site from the accounts service, page by page. */
#ifndef POSTBUS_VERIFIER_DOMAIN_LIST_H
#define POSTBUS_VERIFIER_DOMAIN_LIST_H

#include "libcommon/bus/bus.h"

enum { DOMAIN_LIST_MAX = 1000000 };

/* A member of the reader's structure; when zeroed, no list is being read. The fields are private to
 * domain_list.c. */
struct domain_list {
    struct bus *bus;
    uint64_t ticket;
    size_t count;
    void (*each)(void *ctx, const char *domain);
    void (*done)(void *ctx, bool whole);
    void *ctx;
};

/* each: is called for every domain, at most DOMAIN_LIST_MAX; done: once, at the end; whole is false
 * when a page could not be read. Neither is called before this returns. Does nothing while a list
 * is being read. */
void domain_list_read(struct domain_list *l, struct bus *bus, void (*each)(void *ctx, const char *domain),
                      void (*done)(void *ctx, bool whole), void *ctx);
bool domain_list_is_read(const struct domain_list *l);
/* There are no further callbacks. */
void domain_list_stop(struct domain_list *l);

#endif
