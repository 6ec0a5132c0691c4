/* The DNS records that a hosted domain should publish, each with its purpose. records_make is pure;
 * its input comes from the site's settings, the domain's own (accounts.domain.set) and its DKIM
 * keys; domain_records.h collects all of these. */
#ifndef POSTBUS_VERIFIER_RECORDS_H
#define POSTBUS_VERIFIER_RECORDS_H

#include "services/verifier/keys/keys.h"

enum { RECORDS_MAX = 96, RECORDS_TTL = 3600, RECORDS_CAA_MAX = 8 };

/* One record: name without final dot in A-labels; value in presentation format (RFC 1035 §5), names
 * in it with final dot. */
struct dns_record {
    const char *name, *type, *value;
    int ttl;
    const char *purpose; /* in words, for people */
    bool needed;         /* without it mail is lost or not authenticated; otherwise it is
                            optional */
};

struct records_input {
    const char *domain;         /* A-labels */
    const char *mail_host;      /* POSTBUS_HOSTNAME */
    const char *addresses;      /* POSTBUS_PUBLIC_ADDRESSES: of the mail host, comma-separated;
                                   "" */
    const char *outgoing_name;  /* POSTBUS_OUTGOING_NAME: the name that delivery uses in EHLO if
                                   that is not the mail host; "" */
    const char *outgoing;       /* POSTBUS_OUTGOING_ADDRESSES: addresses of outgoing connections, if
                                   not those of the mail host; "" */
    const char *ns_names;       /* POSTBUS_NS_NAMES: comma-separated; "" */
    const char *ns_addresses;   /* POSTBUS_NS_ADDRESSES: of those names that are inside the domain;
                                   "": the mail host's */
    const char *dmarc_policy;   /* "none", "quarantine", "reject" */
    const char *dmarc_rua;      /* URIs for aggregate reports; "": none */
    const char *dmarc_ruf;      /* URIs for failure reports; "" */
    const char *tlsrpt_rua;     /* URIs for TLS reports; "" */
    const char *mta_sts;        /* "testing", "enforce" or "none" when a policy is served for the
                                   domain; "": no such record */
    const char *tlsa_hex;       /* SHA-256 of the mail host's public key (TLSA 3 1 1, RFC 7672
                                   §3.1.1); "": unknown */
    const char *tlsa_next_hex;  /* of the next key (RFC 7671 §8.4); "": none */
    const char *bimi_location;  /* of the logo, https; "": no BIMI record */
    const char *bimi_authority; /* of its certificate; "" */
    size_t caa_count;
    const char *caa[RECORDS_CAA_MAX]; /* "letsencrypt.org", "wild:ca.example",
                                         "iodef:mailto:security@example.org" */
    const struct domain_keys *keys;   /* NULL: none */
};

/* Fills records (in arena) and returns their number. */
size_t records_make(struct arena *arena, const struct records_input *in, struct dns_record records[RECORDS_MAX]);
/* The settings' part of the input; text lives as long as arena. own: the domain's own settings
 * (accounts.domain.get's dns), NULL for none; they must live as long as arena too. The certificates
 * are read again each time. */
void records_settings(struct arena *arena, struct verifier *v, const json_t *own, struct records_input *in);

#endif
