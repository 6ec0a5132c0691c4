/* The publisher's two halves: publish.c decides what is to be done and when, publish_job.c does one thing. Private to
 * them. */
#ifndef POSTBUS_VERIFIER_PUBLISH_PRIVATE_H
#define POSTBUS_VERIFIER_PUBLISH_PRIVATE_H

#include "libcommon/mail/domain.h"
#include "services/verifier/domain_list.h"
#include "services/verifier/zone/domain_records.h"
#include "services/verifier/zone/publish.h"

enum publish_kind { PUBLISH_ZONE, PUBLISH_REMOVE, PUBLISH_CLEAN };

/* Work to do; one kind of it a domain at a time in the list. */
struct publish_task {
    struct publish_task *next;
    enum publish_kind kind;
    char domain[DOMAIN_BYTES]; /* "" for PUBLISH_CLEAN */
};

struct publisher {
    struct verifier *verifier;
    struct event *clock, *again;
    struct publish_servers servers;
    struct publish_task *first, **last;
    struct publish_task *failed; /* to be tried again; meanwhile the others go on */
    bool busy, closing;
    json_t *hosted;  /* the last whole list of domains, and what came since: {"<domain>":true} */
    json_t *listing; /* the list being read, page by page */
    json_t *seen;    /* zones that were missed in the list, with when (ms): see publish_choose_gone */
    int64_t every_seconds, gone_seconds;
    struct domain_list list;
};

/* Begins a task; takes it. publish_finished is called when it is over. */
void publish_job_start(struct publisher *p, struct publish_task *task);
enum publish_end {
    PUBLISH_DONE,
    PUBLISH_AGAIN, /* this one failed: it is tried again later */
    PUBLISH_PAUSE, /* the store, accounts or the DNS server cannot be reached: so would all that follow */
};
/* gone: zones that PUBLISH_CLEAN found, or NULL. */
void publish_finished(struct publisher *p, struct publish_task *task, enum publish_end end, const json_t *gone);
/* Whether a domain that is hosted here has this name, or is above it. */
bool publish_is_hosted(const struct publisher *p, const char *name);

#endif
