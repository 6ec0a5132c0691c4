#include "libcommon/net/tls_server.h"

#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include "libcommon/base/arena.h"
#include "libcommon/net/tls.h"
#include "libcommon/net/tls_ticket.h"

/* Data of the default context, with which connections begin: contexts[i] is for files.files[i];
 * contexts[0] is NULL and stands for the default itself. */
struct names {
    struct certificates files;
    SSL_CTX **contexts;
};

static int slot;
static once_flag slot_once = ONCE_FLAG_INIT;

static void names_free(struct names *n) {
    for (size_t i = 1; i < n->files.count; i++) SSL_CTX_free(n->contexts[i]);
    certificates_free(&n->files);
    free(n->contexts);
    free(n);
}

static void on_context_freed(void *parent, void *value, CRYPTO_EX_DATA *data, int index, long argl, void *argp) {
    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    if (value) names_free(value);
}

static void slot_create(void) {
    slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_context_freed);
    if (slot < 0) memory_exhausted();
}

static int on_server_name(SSL *ssl, int *alert, void *ctx) {
    const struct names *n = ctx;
    (void)alert;
    size_t which = certificates_choose(&n->files, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    if (which) SSL_set_SSL_CTX(ssl, n->contexts[which]);
    return SSL_TLSEXT_ERR_OK;
}

SSL_CTX *tls_server_create(const struct certificates *files, const char *ticket_secret, int64_t ticket_seconds) {
    if (!files->count) return NULL;
    SSL_CTX *first = tls_server_context(files->files[0].certificate, files->files[0].key);
    if (!first) return NULL;
    struct names *n = memory_alloc(sizeof *n);
    n->files = (struct certificates){.count = files->count, .files = memory_alloc(files->count * sizeof *files->files)};
    memcpy(n->files.files, files->files, files->count * sizeof *files->files);
    n->contexts = memory_alloc(files->count * sizeof(SSL_CTX *));
    bool whole = true;
    for (size_t i = 1; i < files->count && whole; i++) {
        n->contexts[i] = tls_server_context(files->files[i].certificate, files->files[i].key);
        whole = n->contexts[i] != NULL;
    }
    if (!whole) {
        names_free(n);
        SSL_CTX_free(first);
        return NULL;
    }
    for (size_t i = 0; ticket_secret && i < files->count; i++)
        tls_ticket_use(i ? n->contexts[i] : first, ticket_secret, ticket_seconds);
    call_once(&slot_once, slot_create);
    SSL_CTX_set_ex_data(first, slot, n);
    SSL_CTX_set_tlsext_servername_callback(first, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(first, n);
    return first;
}
