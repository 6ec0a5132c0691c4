/* The end of a step of the mover, and of the mover itself. */
#include <stdlib.h>

#include "services/mailbox/mover.h"

int64_t mover_time_of(const char *id) {
    static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    int64_t ms = 0;
    for (size_t i = 0; i < 10; i++) {
        const char *at = strchr(letters, id[i]);
        ms = ms * 32 + (at ? at - letters : 0);
    }
    return ms;
}

void mover_free(struct mover *v) {
    event_free(v->timer);
    free(v->page);
    free(v->batch);
    free(v);
}

void mover_wait(struct mover *v, int64_t ms) {
    struct timeval wait = {ms / 1000, (ms % 1000) * 1000};
    v->busy = false;
    if (v->orphan) {
        mover_free(v);
        return;
    }
    if (!v->stopping) event_add(v->timer, &wait);
    requests_end(v->m, 0);
}
