/* admin: start-up. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "services/admin/admin.h"
#include "services/admin/health/health.h"
#include "services/admin/https.h"

static void admin_start(struct worker *w) {
    struct admin *a = memory_alloc(sizeof *a);
    a->worker = w;
    w->state = a;
    a->token = config_secret("admin.token", true);
    if (strlen(a->token) < 16)
        config_refuse("admin.token",
                      "the token has fewer than 16 characters: make a longer one, such as 32 random bytes in base 64");
    a->mta_sts = mta_sts_mode_setting();
    a->health = health_create(a);
    a->https = https_create(w->base);
    http_listen(a, SITE_API, false, "POSTBUS_API_LISTEN", "[::]:8080");
    http_listen(a, SITE_WEB, false, "POSTBUS_WEB_LISTEN", "[::]:8081");
    if (a->https) {
        http_listen(a, SITE_API, true, "POSTBUS_APIS_LISTEN", "[::]:8443");
        http_listen(a, SITE_WEB, true, "POSTBUS_WEBS_LISTEN", "[::]:8444");
    } else if (w->index == 0) {
        log_warn("there is no usable tls.crt and tls.key: TLS is off on all listeners", NULL);
    }
    journal_start(a);
}

static void admin_drain(struct worker *w) { http_quiesce(w->state); }

static void admin_stop(struct worker *w) {
    struct admin *a = w->state;
    journal_stop(a);
    http_close(a);
    https_destroy(a->https);
    health_destroy(a->health);
    explicit_bzero(a->token, strlen(a->token));
    free(a->token);
    free(a);
}

static const struct service admin = {.name = "admin", .start = admin_start, .drain = admin_drain, .stop = admin_stop};

int main(void) { return service_run(&admin); }
