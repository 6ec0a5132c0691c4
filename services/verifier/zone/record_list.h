/* A list of DNS records in the making, and what is needed to make one. */
#ifndef POSTBUS_VERIFIER_RECORD_LIST_H
#define POSTBUS_VERIFIER_RECORD_LIST_H

#include "libcommon/base/arena.h"
#include "services/verifier/zone/records.h"

struct record_list {
    struct arena *arena;
    struct dns_record *records;
    size_t n;
};

enum record_need { RECORD_NEEDED, RECORD_ADVISED };

/* Adds a record; beyond RECORDS_MAX it is left out. All text is in the arena or constant. */
void record_add(struct record_list *l, const char *name, const char *type, const char *value, enum record_need need,
                const char *purpose);
/* A TXT value: quoted strings of at most 255 bytes (RFC 1035 §3.3.14, §5.1). */
const char *record_txt(struct arena *arena, const char *text);
/* The next of a comma-separated list as a C string of arena; NULL at its end. */
const char *record_next(struct arena *arena, struct slice *list);
/* 4, 6, or 0 when it is not an address. */
int record_family(const char *address);
/* Whether name is domain or below it. */
bool record_is_inside(const char *name, const char *domain);

/* Each adds the records of one kind: records_hosts.c, records_mail.c, records_policy.c. */
void records_add_hosts(struct record_list *l, const struct records_input *in);
void records_add_mail(struct record_list *l, const struct records_input *in);
void records_add_policies(struct record_list *l, const struct records_input *in);
void records_add_services(struct record_list *l, const struct records_input *in);

#endif
