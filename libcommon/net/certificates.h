/* The certificates of a secrets directory, by the names of their files:
 *
 *   tls.crt, tls.key                     for every server name that no other is for
 *   tls.mail.example.org.crt and .key    for the server name mail.example.org (SNI, RFC 6066 §3)
 *   tls._.example.org.crt and .key       for every name with one label more than example.org
 *
 * A name has a dot in it, so that tls.next.crt (the next certificate, for its TLSA record) is none. What is loaded from
 * these files is up to the TLS library in use; this module only says which there are and whether any has changed. */
#ifndef POSTBUS_NET_CERTIFICATES_H
#define POSTBUS_NET_CERTIFICATES_H

#include <stddef.h>
#include <stdint.h>

enum { CERTIFICATES_MAX = 1000, CERTIFICATE_PATH_BYTES = 1024 };

struct certificate_files {
    char name[256]; /* in lower case; "": the one for all other names */
    char certificate[CERTIFICATE_PATH_BYTES], key[CERTIFICATE_PATH_BYTES];
};

struct certificates {
    size_t count; /* 0: there is no tls.crt with its tls.key */
    struct certificate_files *files;
    size_t left_out; /* pairs beyond CERTIFICATES_MAX */
    uint64_t mark;   /* another one when any of these files, or ticket.key, has changed, come or gone */
};

/* Looks the directory through; never fails. The caller frees the result. */
void certificates_find(const char *directory, struct certificates *out);
void certificates_free(struct certificates *c);
/* Which of the files serves this name, upper and lower case alike; NULL: none was asked for. 0: the one for all. */
size_t certificates_choose(const struct certificates *c, const char *server_name);

#endif
