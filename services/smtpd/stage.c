#include "services/smtpd/stage.h"

#include <stdarg.h>
#include <stdio.h>

#include "services/smtpd/smtpd.h"

void stage_begin(struct checking *c, struct session *s, enum stage stage) {
    *c = (struct checking){.session = s, .stage = stage};
}

bool stage_step(struct checking *c) {
    while (!c->waits && !c->verdict.code) {
        check_fn *start = c->session->smtpd->checks[c->stage][c->next];
        if (!start) return true;
        c->next++;
        start(c);
    }
    return !c->waits;
}

void check_reject(struct checking *c, int code, const char *enhanced, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    c->verdict.code = code;
    snprintf(c->verdict.enhanced, sizeof c->verdict.enhanced, "%s", enhanced);
    vsnprintf(c->verdict.text, sizeof c->verdict.text, format, ap);
    va_end(ap);
}

void check_quarantine(struct checking *c, const char *folder) { c->verdict.folder = folder; }

void check_hold(struct checking *c, const char *reason) { c->verdict.hold = reason; }

static void on_answer(void *ctx, int error, struct slice reply) {
    struct checking *c = ctx;
    struct session *s = c->session;
    c->waits = false;
    if (!life_has_ended(&s->life)) c->answer(c, error, reply);
    life_release(&s->life);
}

void check_ask(struct checking *c, const char *verb, struct buf *ask, int timeout_ms, check_answer_fn *answer) {
    c->waits = true;
    c->answer = answer;
    life_hold(&c->session->life);
    bus_request_text(c->session->smtpd->worker->bus, verb, buf_slice(ask), timeout_ms, on_answer, c);
    buf_free(ask);
}
