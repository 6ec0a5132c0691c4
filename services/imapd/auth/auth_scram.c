/* AUTHENTICATE SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677; libcommon/service/scram.h). */
#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/service/scram.h"
#include "services/imapd/auth/auth.h"

struct scram_job {
    enum { SCRAM_FIRST, SCRAM_FINAL, SCRAM_LAST } step;
    bool plus;
    struct scram scram;
};

static void take_line(struct session *s, struct slice line);

static void release(struct session *s) {
    struct scram_job *job = s->job;
    scram_free(&job->scram);
}

static void refuse_message(struct session *s, int error) {
    if (error == SCRAM_NO_BINDING)
        session_no(s, "[AUTHENTICATIONFAILED] The channel binding does not fit this connection");
    else if (error == SCRAM_NO_IDENTITY)
        session_no(s, "[AUTHORIZATIONFAILED] Authorization as another user is not supported");
    else
        session_bad(s, "Not a message of SCRAM");
}

/* accounts' answer to the present step; ours to the client is sent as it is. */
static void on_answer(void *ctx, int error, struct slice reply) {
    struct session *s = ctx;
    s->login_ticket = 0;
    if (!session_resume(s)) return;
    struct scram_job *job = s->job;
    struct buf text = {0};
    if (!error)
        error = job->step == SCRAM_FIRST ? scram_challenge(&job->scram, reply, &text)
                                         : scram_end(&job->scram, reply, &text);
    if (error) {
        char code[BUS_CODE_BYTES];
        auth_not_checked(s, error, bus_error_code_text(reply, code));
    } else {
        job->step++;
        s->on_line = take_line;
        session_plus(s, buf_str(&text));
    }
    buf_free(&text);
}

static void ask(struct session *s) {
    struct scram_job *job = s->job;
    struct buf text = {0};
    struct json_put j = json_put_begin(&text);
    bool first = job->step == SCRAM_FIRST;
    (first ? scram_put_ask : scram_put_proof)(&job->scram, &j, stream_peer(s->stream), "imap");
    s->on_line = NULL;
    session_wait(s);
    s->login_asked_us = clock_monotonic_us();
    s->login_ticket = bus_request_text(s->imapd->worker->bus, first ? "accounts.scram.salt" : "accounts.scram.login",
                                       buf_slice(&text), LIMIT_LOGIN_ANSWER_MS, on_answer, s);
    buf_free(&text);
}

static void take_line(struct session *s, struct slice line) {
    struct scram_job *job = s->job;
    struct buf message = {0};
    int error = SCRAM_OK;
    if (slice_is(line, "*")) {
        session_bad(s, "Given up");
        return;
    }
    if (base64_decode(line, false, &message) != 0)
        error = SCRAM_MALFORMED;
    else if (job->step == SCRAM_FIRST)
        error = scram_first(&job->scram, buf_slice(&message), job->plus, stream_ssl(s->stream));
    else if (job->step == SCRAM_FINAL)
        error = scram_final(&job->scram, buf_slice(&message));
    else if (message.n) /* the client has seen server-final, and has nothing to say */
        error = SCRAM_MALFORMED;
    buf_free(&message);
    if (error) {
        refuse_message(s, error);
    } else if (job->step == SCRAM_LAST) {
        s->on_line = NULL;
        auth_right(s, job->scram.user, job->scram.address, job->scram.generation);
    } else {
        ask(s);
    }
}

void auth_scram(struct session *s, bool plus) {
    struct scram_job *job = arena_alloc(s->arena, sizeof *job);
    job->plus = plus;
    s->job = job;
    s->release = release;
    s->on_line = take_line;
}
