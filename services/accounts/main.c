#include "services/accounts/accounts.h"

#include <stdlib.h>

#include "libcommon/base/arena.h"

static void accounts_start(struct worker *w) {
    struct accounts *s = memory_alloc(sizeof *s);
    s->worker = w;
    w->state = s;
    login_start(s);
    resolve_start(s);
    domains_start(s);
    keys_start(s);
    users_start(s);
    aliases_start(s);
    domain_settings_start(s);
}

static void accounts_stop(struct worker *w) {
    struct accounts *s = w->state;
    login_stop(s);
    free(s);
}

static const struct service accounts = {.name = "accounts", .start = accounts_start, .stop = accounts_stop};

int main(void) { return service_run(&accounts); }
