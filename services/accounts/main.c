#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "services/accounts/accounts.h"
#include "services/accounts/hashing.h"

static void accounts_configure(void) {
    password_configure();
    credentials_configure();
    hashing_configure();
    login_configure();
}

static void accounts_start(struct worker *w) {
    struct accounts *s = memory_alloc(sizeof *s);
    s->worker = w;
    w->state = s;
    logins_start(s);
    login_start(s);
    resolve_start(s);
    domains_start(s);
    keys_start(s);
    users_start(s);
    records_start(s);
    aliases_start(s);
    domain_settings_start(s);
    owed_start(s);
}

/* The requests that are here are answered first. */
static void accounts_drain(struct worker *w) {
    struct accounts *s = w->state;
    if (s->asks == 0) service_drained(w);
}

static void accounts_stop(struct worker *w) {
    struct accounts *s = w->state;
    owed_stop(s);
    free(s);
}

static const struct service accounts = {.name = "accounts",
                                        .configure = accounts_configure,
                                        .start = accounts_start,
                                        .drain = accounts_drain,
                                        .stop = accounts_stop};

int main(void) {
    int status = service_run(&accounts);
    login_cleanup();
    return status;
}
