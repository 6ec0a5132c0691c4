/* Shared by the two files of the publisher: publish.c schedules tasks, publish_job.c does one task.
 * Private to them. */
#ifndef POSTBUS_VERIFIER_PUBLISH_PRIVATE_H
#define POSTBUS_VERIFIER_PUBLISH_PRIVATE_H

#include "libcommon/mail/domain.h"
#include "services/verifier/domain_list.h"
#include "services/verifier/zone/domain_records.h"
#include "services/verifier/zone/publish.h"

enum publish_kind { PUBLISH_ZONE, PUBLISH_REMOVE, PUBLISH_CLEAN };

/* A task; the list has at most one of each kind for a domain. */
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
    struct publish_task *failed; /* to be tried again; other tasks continue */
    bool busy, closing;
    json_t *hosted;  /* the last complete list of domains, and those added since:
                        {"<domain>":true} */
    json_t *listing; /* the list being read, page by page */
    json_t *seen;    /* zones that were missing from the list, with the time (ms): see
                        publish_choose_gone */
    int64_t every_seconds, gone_seconds;
    struct domain_list list;
};

enum publish_end {
    PUBLISH_DONE,
    PUBLISH_AGAIN, /* this task failed and is tried again later */
    PUBLISH_PAUSE, /* the store, accounts or the DNS server cannot be reached, so all further tasks
                      would fail too */
};
/* gone: zones that PUBLISH_CLEAN found, or NULL. */
typedef void publish_finished_fn(struct publisher *p, struct publish_task *task, enum publish_end end,
                                 const json_t *gone);
/* publish_job.c: begins a task; `finished` gets it back at its end. */
void publish_job_start(struct publisher *p, struct publish_task *task, publish_finished_fn *finished);

#endif
