/* The certificates of a secrets directory, by the names of their files:
 *
 *   tls.crt, tls.key                     for all other server names
 *   tls.mail.example.org.crt and .key    for the server name mail.example.org (SNI, RFC 6066 §3)
 *   tls._.example.org.crt and .key       for every name with one label more than example.org
 *
 * A name contains a dot, so tls.next.crt (the next certificate, for its TLSA record) is not for a
 * server name. The caller loads the files with its TLS library; this module only lists them and
 * tells whether one has changed. */
#ifndef POSTBUS_NET_CERTIFICATES_H
#define POSTBUS_NET_CERTIFICATES_H

#include <stddef.h>
#include <stdint.h>

enum { CERTIFICATES_MAX = 1000, CERTIFICATE_PATH_BYTES = 1024 };

struct certificate_files {
    char name[256]; /* in lower case; "": for all other names */
    char certificate[CERTIFICATE_PATH_BYTES], key[CERTIFICATE_PATH_BYTES];
};

struct certificates {
    size_t count; /* 0: there is no tls.crt with its tls.key */
    struct certificate_files *files;
    size_t left_out; /* pairs beyond CERTIFICATES_MAX */
    uint64_t mark;   /* differs when any of these files, or ticket.key, was changed, added or
                        removed */
};

/* Reads the directory; never fails. The caller frees the result. */
void certificates_find(const char *directory, struct certificates *out);
void certificates_free(struct certificates *c);
/* The index of the certificate for this name (case-insensitive; NULL: the client named none). 0 is
 * the one for all other names. */
size_t certificates_choose(const struct certificates *c, const char *server_name);

#endif
