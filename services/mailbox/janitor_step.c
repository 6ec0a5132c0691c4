/* The running step of the janitor. */
#include <stdio.h>

#include "libcommon/base/log.h"
#include "services/mailbox/janitor.h"

void janitor_answered(struct janitor *j, int error) {
    if (error && !j->error) j->error = error;
    if (--j->waiting == 0) j->step_done(j);
}

void janitor_say_unowned(struct janitor *j, const char *what, struct slice name) {
    char text[512];
    snprintf(text, sizeof text, "%.*s", SLICE_FMT(name));
    log_warn("nobody owns this, and it is left as it is", "what", what, "name", text, NULL);
    j->unowned++;
}
