/* The opening of a session, and its end. */
#include "services/delivery/session/session.h"

#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "services/delivery/limits.h"
#include "services/delivery/session/session_mail.h"
#include "services/delivery/tls/smtp_tls.h"

/* The session never opened. */
static void fail(struct session *s, enum smtp_end end, int code, const char *enhanced, const char *why) {
    if (why != s->why) snprintf(s->why, sizeof s->why, "%s", why);
    s->result.end = end;
    s->result.code = code;
    snprintf(s->result.enhanced, sizeof s->result.enhanced, "%s", enhanced);
    if (s->phase > GREETING && s->phase != HANDSHAKE && end != SMTP_END_NOT_NOW)
        stream_write(s->stream, SLICE("QUIT\r\n"));
    session_close(s, s->why);
}

static void fail_with_reply(struct session *s, enum smtp_end end) {
    struct buf text = {0};
    smtp_reply_text(&s->reply, &text);
    fail(s, end, s->reply.code, s->reply.enhanced, buf_str(&text));
    buf_free(&text);
}

static bool may_be_plain(const struct session *s) {
    return s->set.tls->level == TLS_MAY || s->set.tls->level == TLS_NEVER;
}

static void lose(struct session *s, const char *what) {
    if (s->phase == CLOSED) return;
    if (s->phase >= IDLE) {
        if (s->transaction) mail_on_lost(s, what);
        session_close(s, what);
        return;
    }
    bool handshake = s->phase == HANDSHAKE;
    /* if no valid certificate is required, it was not the reason */
    bool judged = handshake && stream_ssl(s->stream) && !may_be_plain(s) && s->set.tls->level != TLS_ENCRYPT;
    long verify = judged ? SSL_get_verify_result(stream_ssl(s->stream)) : X509_V_OK;
    if (handshake) s->result.verify_code = verify;
    char why[400];
    snprintf(why, sizeof why, "%s%s%s", what, verify == X509_V_OK ? "" : ": ",
             verify == X509_V_OK ? "" : X509_verify_cert_error_string(verify));
    fail(s, handshake ? SMTP_END_TLS_FAILED : SMTP_END_NOT_NOW, 0, handshake ? "4.7.5" : "4.4.2", why);
}

/* The server can be used, unless it lacks an extension that all messages of the destination
 * need. */
static void opened(struct session *s) {
    if (s->set.require_tls && !s->requiretls) {
        fail(s, SMTP_END_NO_REQUIRETLS, 550, "5.7.30", "REQUIRETLS was asked for, and the server does not offer it");
        return;
    }
    session_idle(s);
}

static void send_ehlo(struct session *s) {
    s->phase = EHLO;
    stream_printf(s->stream, "EHLO %s\r\n", s->set.hello);
}

static void start_handshake(struct session *s) {
    SSL *ssl = smtp_tls_create(s->set.tls_context, s->set.tls);
    s->result.tls_reached = SMTP_TLS_BROKEN; /* until the handshake is complete */
    if (!ssl) {
        fail(s, SMTP_END_TLS_FAILED, 0, "4.7.5", "TLS cannot be set up as the domain's policy asks");
        return;
    }
    s->phase = HANDSHAKE;
    stream_start_tls(s->stream, ssl, false);
}

/* "RCPTMAX=20 MAILMAX=5" (RFC 9422 §4). */
static size_t limit_of(struct slice words, const char *name) {
    struct slice one;
    uint64_t n;
    for (bool more = words.n > 0; more;) {
        more = slice_cut(&words, ' ', &one);
        if (!more) one = words;
        struct slice word = one, key;
        if (slice_cut(&word, '=', &key) && slice_is_nocase(key, name) && slice_to_u64(word, 1000000, &n) == 0 && n)
            return (size_t)n;
    }
    return 0;
}

static void read_extensions(struct session *s) {
    struct slice value;
    uint64_t n = 0;
    s->pipelining = smtp_reply_offers(&s->reply, "PIPELINING", &value);
    s->eight_bit = smtp_reply_offers(&s->reply, "8BITMIME", &value);
    s->dsn = smtp_reply_offers(&s->reply, "DSN", &value);
    s->smtputf8 = smtp_reply_offers(&s->reply, "SMTPUTF8", &value);
    s->requiretls = smtp_reply_offers(&s->reply, "REQUIRETLS", &value);
    s->starttls = smtp_reply_offers(&s->reply, "STARTTLS", &value);
    s->size = smtp_reply_offers(&s->reply, "SIZE", &value);
    s->size_max = s->size && slice_to_u64(value, SIZE_MAX, &n) == 0 ? (size_t)n : 0;
    s->rcpt_max = s->mail_max = 0;
    if (smtp_reply_offers(&s->reply, "LIMITS", &value)) {
        s->rcpt_max = limit_of(value, "RCPTMAX");
        s->mail_max = limit_of(value, "MAILMAX");
    }
}

static void on_ehlo(struct session *s) {
    read_extensions(s);
    if (stream_ssl(s->stream) || s->set.tls->level == TLS_NEVER) {
        opened(s);
        return;
    }
    if (!s->starttls) s->result.tls_reached = SMTP_TLS_NOT_OFFERED;
    if (s->starttls) {
        s->phase = STARTTLS;
        stream_write(s->stream, SLICE("STARTTLS\r\n"));
    } else if (may_be_plain(s)) {
        opened(s);
    } else {
        fail(s, SMTP_END_TLS_FAILED, 0, "4.7.4", "the server does not offer STARTTLS, and its policy asks for it");
    }
}

/* The first word of the greeting is the server's name (RFC 5321 §4.2). */
static void keep_peer_name(struct session *s) {
    struct slice text = buf_slice(&s->reply.text), line, name;
    if (!slice_cut(&text, '\n', &line)) line = text;
    if (!slice_cut(&line, ' ', &name)) name = line;
    size_t n = 0;
    for (; n < name.n && n + 1 < sizeof s->peer_name; n++)
        s->peer_name[n] =
            name.p[n] > ' ' && name.p[n] < 0x7f ? name.p[n] : '?'; /* only ASCII is written into our JSON */
    s->peer_name[n] = '\0';
}

static void on_opening_reply(struct session *s) {
    int class = s->reply.code / 100;
    switch (s->phase) {
    case GREETING:
        if (class != 2) {
            fail_with_reply(s, SMTP_END_NOT_NOW);
            break;
        }
        stream_set_timeout(s->stream, SMTP_COMMAND_MS);
        keep_peer_name(s);
        send_ehlo(s);
        break;
    case EHLO:
        if (class == 2) {
            on_ehlo(s);
        } else if (class == 5 && !stream_ssl(s->stream) && may_be_plain(s)) { /* §3.2: a server without EHLO */
            if (s->set.tls->level == TLS_MAY) s->result.tls_reached = SMTP_TLS_NOT_OFFERED;
            s->phase = HELO;
            stream_printf(s->stream, "HELO %s\r\n", s->set.hello);
        } else {
            fail_with_reply(s, SMTP_END_NOT_NOW);
        }
        break;
    case HELO:
        if (class == 2)
            opened(s);
        else
            fail_with_reply(s, SMTP_END_NOT_NOW);
        break;
    case STARTTLS:
        if (class == 2) {
            start_handshake(s);
            break;
        }
        s->result.tls_reached = SMTP_TLS_NOT_OFFERED;
        if (may_be_plain(s))
            opened(s);
        else
            fail_with_reply(s, SMTP_END_TLS_FAILED);
        break;
    default: session_close(s, "the server speaks though nothing was asked"); break;
    }
}

static void on_tls(struct session *s) {
    SSL *ssl = stream_ssl(s->stream);
    snprintf(s->tls_version, sizeof s->tls_version, "%s", stream_tls_version(s->stream));
    snprintf(s->tls_cipher, sizeof s->tls_cipher, "%s", stream_tls_cipher(s->stream));
    s->result.tls_reached = SMTP_TLS_STANDS;
    s->result.verify_code = SSL_get0_peer_certificate(ssl) ? SSL_get_verify_result(ssl) : X509_V_ERR_UNSPECIFIED;
    bool good = s->result.verify_code == X509_V_OK;
    snprintf(s->tls_verified, sizeof s->tls_verified, "%s",
             !good                           ? "none"
             : s->set.tls->level == TLS_DANE ? "dane"
                                             : "pkix");
    send_ehlo(s);
}

static void read_replies(struct session *s) {
    struct slice line;
    int got;
    while (s->phase != CLOSED && (got = stream_line(s->stream, SMTP_REPLY_LINE_MAX, &line)) != 0) {
        int whole = got < 0 ? -1 : smtp_reply_add(&s->reply, line);
        if (whole < 0) {
            lose(s, "the server does not speak SMTP: its reply is not of the form \"250 text\"");
            return;
        }
        if (!whole) continue;
        if (s->phase > IDLE)
            mail_on_reply(s);
        else
            on_opening_reply(s);
        smtp_reply_reset(&s->reply);
    }
}

static void run(void *ctx) {
    struct session *s = ctx;
    if (s->phase == CLOSED) return;
    if (s->tls_ready) {
        s->tls_ready = false;
        on_tls(s);
    }
    read_replies(s);
    if (s->phase == CLOSED) return;
    if (s->lost) {
        char why[160];
        snprintf(why, sizeof why, "%s", stream_error(s->stream));
        lose(s, why);
    } else if (s->timed_out) {
        s->timed_out = false;
        if (s->phase == IDLE) stream_write(s->stream, SLICE("QUIT\r\n")); /* it is no longer needed */
        lose(s, "the server did not answer in time");
    } else if (s->phase > IDLE) {
        mail_go_on(s);
    }
}

static void on_stream(void *ctx, struct stream *stream, enum stream_event event) {
    struct session *s = ctx;
    (void)stream;
    s->tls_ready = s->tls_ready || event == STREAM_TLS_READY;
    s->lost = s->lost || event == STREAM_CLOSED;
    s->timed_out = s->timed_out || event == STREAM_TIMEOUT;
    life_wake(&s->life);
}

static void session_free(void *ctx) {
    struct session *s = ctx;
    buf_free(&s->reply.text);
    free(s);
}

struct session *session_create(const struct session_settings *settings, struct stream *stream) {
    struct session *s = memory_alloc(sizeof *s);
    s->set = *settings;
    snprintf(s->host, sizeof s->host, "%s", settings->host);
    snprintf(s->ip, sizeof s->ip, "%s", settings->ip);
    s->set.host = s->host;
    s->set.ip = s->ip;
    s->stream = stream;
    s->phase = GREETING;
    snprintf(s->tls_verified, sizeof s->tls_verified, "none");
    snprintf(s->local_ip, sizeof s->local_ip, "%s", stream_local(stream));
    s->result = (struct smtp_result){.reason = s->why,
                                     .tls_version = s->tls_version,
                                     .tls_cipher = s->tls_cipher,
                                     .tls_verified = s->tls_verified,
                                     .local_ip = s->local_ip,
                                     .peer_name = s->peer_name};
    life_start(&s->life, settings->base, run, session_free, s);
    stream_hand_over(stream, on_stream, s);
    stream_set_timeout(stream, SMTP_GREETING_MS);
    life_wake(&s->life); /* the greeting may have arrived already */
    return s;
}

void session_destroy(struct session *s) {
    if (!s) return;
    s->set.owner = NULL;
    if (s->transaction) mail_on_lost(s, NULL);
    if (s->left_over) transaction_drop(s->left_over);
    s->left_over = NULL;
    if (s->phase == IDLE) stream_write(s->stream, SLICE("QUIT\r\n"));
    if (s->phase == IDLE || s->phase == CLOSED) {
        session_close(s, "");
    } else {
        session_cut(s);
    }
    life_end(&s->life);
}

void session_set_owner(struct session *s, struct life *owner) { s->set.owner = owner; }

enum session_state session_state(const struct session *s) {
    return s->phase == CLOSED ? SESSION_CLOSED
           : s->phase < IDLE  ? SESSION_OPENING
           : s->transaction   ? SESSION_BUSY
           : s->left_over     ? SESSION_BUSY
                              : SESSION_IDLE;
}

const struct smtp_result *session_result(const struct session *s) { return &s->result; }

size_t session_rcpts_max(const struct session *s) { return s->rcpt_max ? s->rcpt_max : DESTINATION_RCPTS; }

void session_begin(struct session *s, struct transaction *t) {
    s->transaction = t;
    s->used_before = s->transactions++ > 0;
    mail_start(s);
}

struct transaction *session_left_over(struct session *s) {
    struct transaction *t = s->left_over;
    s->left_over = NULL;
    return t;
}

bool session_broke(const struct session *s) { return s->broke; }

size_t session_take_answered(struct session *s) {
    size_t n = s->answered;
    s->answered = 0;
    return n;
}

bool session_awaits_final_reply(const struct session *s) { return s->phase == FINAL && s->transaction; }
