#include <stdlib.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "tests/bench/drive/drive.h"

enum { ADDRESS_BYTES = 256, TRIES = 3, AGAIN_US = 100000 };

/* One session: takes the next number, sends, and goes on until all are taken. */
static void *session(void *ctx) {
    struct load *l = ctx;
    const struct drive *d = l->drive;
    struct smtp smtp = {0};
    struct buf message = {0};
    char to[ADDRESS_BYTES], login[ADDRESS_BYTES];
    drive_address(login, sizeof login, d->user, 0);
    const char *from = l->relay ? login : d->from;
    for (;;) {
        int number = l->next++;
        if (number >= d->messages) break;
        drive_address(to, sizeof to, l->relay ? d->remote : d->user, number % d->mailboxes);
        message_write(&message, from, to, d->size, number);
        int64_t began = clock_monotonic_us();
        int sent = -1;
        for (int i = 0; i < TRIES && sent; i++) {
            if (i) usleep(AGAIN_US);
            if (!smtp.connection &&
                smtp_open(&smtp, l->relay ? &d->submission : &d->smtp, l->relay ? login : NULL, d->password))
                continue;
            sent = smtp_send(&smtp, from, to, buf_slice(&message));
        }
        if (sent) {
            l->refused++;
            continue;
        }
        l->latency_us[l->accepted++] = smtp.answer_us - began;
        if (smtp.answer_us > l->last_us) l->last_us = smtp.answer_us;
    }
    smtp_close(&smtp);
    buf_free(&message);
    return NULL;
}

void load_run(struct load *l) {
    l->latency_us = memory_alloc((size_t)l->drive->messages * sizeof *l->latency_us);
    drive_threads(l->drive->sessions, session, l);
}
