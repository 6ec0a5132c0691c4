/* The TLS context of a worker: loaded from the secrets directory, and loaded again when files have
 * changed. A new context is for new connections; existing ones keep theirs. */
#include <stdlib.h>
#include <string.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "libcommon/net/certificates.h"
#include "libcommon/net/tls_server.h"
#include "libcommon/service/service_private.h"

enum { CHECK_SECONDS = 10, TICKET_SECONDS = 86400, SECRET_MIN = 16 };

static SSL_CTX *load(const struct worker_full *w, const struct certificates *files) {
    char *secret = config_secret("ticket.key", false);
    if (files->left_out && w->public.index == 0)
        log_warn("there are more than 1,000 certificates: some are not used", NULL);
    if (secret && strlen(secret) < SECRET_MIN && !w->public.tls)
        config_refuse("ticket.key", "the secret has fewer than 16 characters: make a longer one, such as 32 random "
                                    "bytes in base 64, or remove the file and run the setup step");
    SSL_CTX *made = tls_server_create(
        files, secret, config_number("POSTBUS_TLS_TICKET_SECONDS", TICKET_SECONDS, 1, 7 * TICKET_SECONDS));
    if (secret) explicit_bzero(secret, strlen(secret));
    free(secret);
    return made;
}

static void on_check(evutil_socket_t fd, short what, void *ctx) {
    struct worker_full *w = ctx;
    struct certificates files;
    (void)fd, (void)what;
    certificates_find(config_text("POSTBUS_SECRETS", "/run/secrets/postbus"), &files);
    if (files.mark != w->tls_mark) {
        w->tls_mark = files.mark; /* also for files that cannot be used: they are tried again when
                                     they change */
        SSL_CTX *made = load(w, &files);
        if (made) {
            SSL_CTX_free(w->public.tls);
            w->public.tls = made;
            if (w->public.index == 0) log_info("new TLS certificates are in use", NULL);
        } else if (w->public.index == 0) {
            log_error("the TLS certificates have changed and cannot be used: new connections get the former ones",
                      NULL);
        }
    }
    certificates_free(&files);
}

void tls_files_start(struct worker_full *w) {
    struct certificates files;
    certificates_find(config_text("POSTBUS_SECRETS", "/run/secrets/postbus"), &files);
    w->public.tls = load(w, &files);
    w->tls_mark = files.mark;
    certificates_free(&files);
    if (!w->public.tls)
        config_refuse("tls.crt", "no usable certificate and key in the secrets directory: run the setup step, which "
                                 "makes them, or put yours there");
    w->tls_check = event_new(w->public.base, -1, EV_PERSIST, on_check, w);
    if (!w->tls_check) memory_exhausted();
    struct timeval every = {config_number("POSTBUS_TLS_CHECK_SECONDS", CHECK_SECONDS, 1, 86400), 0};
    event_add(w->tls_check, &every);
}

void tls_files_stop(struct worker_full *w) {
    if (w->tls_check) event_free(w->tls_check);
    SSL_CTX_free(w->public.tls);
}
