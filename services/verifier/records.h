/* The DNS records that a hosted domain should publish. records_make is pure; records.c makes its input from settings and keys. */
#ifndef POSTBUS_VERIFIER_RECORDS_H
#define POSTBUS_VERIFIER_RECORDS_H

#include "services/verifier/keys.h"

enum { RECORDS_MAX = 64, RECORDS_TTL = 3600 };

/* One record: name without final dot in A-labels; value in presentation format (RFC 1035 §5), names in it with final dot. */
struct dns_record {
    const char *name, *type, *value;
    int ttl;
};

struct records_input {
    const char *domain;             /* A-labels */
    const char *mail_host;          /* POSTBUS_HOSTNAME */
    const char *addresses;          /* POSTBUS_PUBLIC_ADDRESSES: of the mail host, comma-separated; "" */
    const char *outgoing_name;      /* POSTBUS_OUTGOING_NAME: what delivery says in EHLO when that is not the mail host; "" */
    const char *outgoing;           /* POSTBUS_OUTGOING_ADDRESSES: where mail leaves from, when not from the mail host's; "" */
    const char *ns_names;           /* POSTBUS_NS_NAMES: comma-separated; "" */
    const char *ns_addresses;       /* POSTBUS_NS_ADDRESSES: of those names that are inside the domain; "": the mail host's */
    const char *dmarc_policy;       /* "none", "quarantine", "reject" */
    const char *mta_sts;            /* "testing" or "enforce" when the policy is served for every domain (POSTBUS_MTA_STS); "": no such record */
    const char *tlsa_hex;           /* SHA-256 of the mail host's public key (TLSA 3 1 1, RFC 7672 §3.1.1); "": unknown */
    const struct domain_keys *keys; /* NULL: none */
};

/* Fills records (of arena) and answers how many. */
size_t records_make(struct arena *arena, const struct records_input *in, struct dns_record records[RECORDS_MAX]);
/* The settings' part of the input; text lives as long as arena. The certificate is read again each time. */
void records_settings(struct arena *arena, struct verifier *v, struct records_input *in);

#endif
