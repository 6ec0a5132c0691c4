#include "services/admin/https.h"

#include <stdlib.h>
#include <string.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "libcommon/net/certificates.h"

enum { CHECK_SECONDS = 10, CHAIN_MAX = 16, KEY_ID_BYTES = 64 };

struct pair {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned count;
    gnutls_privkey_t key;
};

struct loaded {
    struct certificates files;
    struct pair *pairs; /* of files.files[i] */
};

/* former: the previous certificates, which a running handshake may still read. */
struct https {
    struct loaded *current, *former;
    uint64_t mark;
    struct event *check;
};

/* The library's callback has no context argument; each worker's thread runs its own HTTP server. */
static _Thread_local const struct https *of_this_thread;

static void loaded_free(struct loaded *l) {
    if (!l) return;
    for (size_t i = 0; i < l->files.count; i++) {
        for (unsigned k = 0; k < l->pairs[i].count; k++) gnutls_pcert_deinit(&l->pairs[i].chain[k]);
        if (l->pairs[i].key) gnutls_privkey_deinit(l->pairs[i].key);
    }
    certificates_free(&l->files);
    free(l->pairs);
    free(l);
}

static bool same_key(gnutls_privkey_t key, gnutls_pubkey_t certified) {
    unsigned char a[KEY_ID_BYTES], b[KEY_ID_BYTES];
    size_t an = sizeof a, bn = sizeof b;
    gnutls_pubkey_t public;
    if (gnutls_pubkey_init(&public) != GNUTLS_E_SUCCESS) return false;
    bool same = gnutls_pubkey_import_privkey(public, key, 0, 0) == GNUTLS_E_SUCCESS &&
                gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, a, &an) == GNUTLS_E_SUCCESS &&
                gnutls_pubkey_get_key_id(certified, GNUTLS_KEYID_USE_SHA256, b, &bn) == GNUTLS_E_SUCCESS && an == bn &&
                memcmp(a, b, an) == 0;
    gnutls_pubkey_deinit(public);
    return same;
}

static bool pair_load(const struct certificate_files *f, struct pair *out) {
    gnutls_datum_t certificate = {0}, key = {0};
    unsigned count = CHAIN_MAX;
    int error = gnutls_load_file(f->certificate, &certificate);
    if (!error) error = gnutls_load_file(f->key, &key);
    if (!error) error = gnutls_pcert_list_import_x509_raw(out->chain, &count, &certificate, GNUTLS_X509_FMT_PEM, 0);
    if (!error) out->count = count;
    if (!error) error = gnutls_privkey_init(&out->key);
    if (!error) error = gnutls_privkey_import_x509_raw(out->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (!error && (!out->count || !same_key(out->key, out->chain[0].pubkey))) error = GNUTLS_E_CERTIFICATE_KEY_MISMATCH;
    gnutls_free(certificate.data);
    if (key.data) explicit_bzero(key.data, key.size);
    gnutls_free(key.data);
    if (error)
        log_error("cannot use this TLS certificate and key: both must be PEM files, and the key must belong to the "
                  "certificate",
                  "certificate", f->certificate, "key", f->key, "reason", gnutls_strerror(error), NULL);
    return !error;
}

/* Takes ownership of files. NULL: one of them cannot be used. */
static struct loaded *load(struct certificates *files) {
    if (!files->count) {
        certificates_free(files);
        return NULL;
    }
    struct loaded *l = memory_alloc(sizeof *l);
    l->files = *files;
    l->pairs = memory_alloc(files->count * sizeof *l->pairs);
    for (size_t i = 0; i < l->files.count; i++)
        if (!pair_load(&l->files.files[i], &l->pairs[i])) {
            loaded_free(l);
            return NULL;
        }
    return l;
}

static void find(struct certificates *files) {
    certificates_find(config_text("POSTBUS_SECRETS", "/run/secrets/postbus"), files);
}

static void on_check(evutil_socket_t fd, short what, void *ctx) {
    struct https *h = ctx;
    struct certificates files;
    (void)fd, (void)what;
    find(&files);
    if (files.mark == h->mark) {
        certificates_free(&files);
        return;
    }
    h->mark = files.mark;
    struct loaded *made = load(&files);
    if (!made) {
        log_error("the changed TLS certificates cannot be used: new connections get the previous ones", NULL);
        return;
    }
    loaded_free(h->former);
    h->former = h->current;
    h->current = made;
    log_info("new TLS certificates are in use", NULL);
}

struct https *https_create(struct event_base *base) {
    struct https *h = memory_alloc(sizeof *h);
    struct certificates files;
    find(&files);
    h->mark = files.mark;
    h->current = load(&files);
    if (!h->current) {
        free(h);
        return NULL;
    }
    h->check = event_new(base, -1, EV_PERSIST, on_check, h);
    if (!h->check) memory_exhausted();
    struct timeval every = {config_number("POSTBUS_TLS_CHECK_SECONDS", CHECK_SECONDS, 1, 86400), 0};
    event_add(h->check, &every);
    return h;
}

void https_destroy(struct https *h) {
    if (!h) return;
    of_this_thread = NULL;
    event_free(h->check);
    loaded_free(h->current);
    loaded_free(h->former);
    free(h);
}

void https_use(struct https *h) { of_this_thread = h; }

int https_choose(gnutls_session_t session, const gnutls_datum_t *authorities, int authority_count,
                 const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **chain, unsigned *count,
                 gnutls_privkey_t *key) {
    char name[256] = "";
    size_t n = sizeof name;
    unsigned type = 0;
    (void)authorities, (void)authority_count, (void)algorithms, (void)algorithm_count;
    if (!of_this_thread) return -1;
    const struct loaded *l = of_this_thread->current;
    bool named = gnutls_server_name_get(session, name, &n, &type, 0) == GNUTLS_E_SUCCESS && type == GNUTLS_NAME_DNS;
    struct pair *p = &l->pairs[certificates_choose(&l->files, named ? name : NULL)];
    *chain = p->chain;
    *count = p->count;
    *key = p->key;
    return 0;
}
