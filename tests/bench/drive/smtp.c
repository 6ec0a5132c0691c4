#include <stdio.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "tests/bench/drive/drive.h"

/* The code of the next whole reply; -1 when there is none. Says the first refusal in words. */
static int reply(struct smtp *s) {
    static _Atomic int told;
    struct slice line;
    do {
        if (connection_line(s->connection, &line) || line.n < 3) return -1;
    } while (line.n > 3 && line.p[3] == '-');
    int code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
    if (code >= 400 && told++ < 3) fprintf(stderr, "drive: refused: %.*s\n", SLICE_FMT(line));
    return code;
}

static int expect(struct smtp *s, int code) {
    if (reply(s) == code) return 0;
    smtp_close(s);
    return -1;
}

static int say(struct smtp *s, int code, const char *text, const char *argument, const char *end) {
    if (connection_printf(s->connection, "%s%s%s\r\n", text, argument, end)) {
        smtp_close(s);
        return -1;
    }
    return expect(s, code);
}

static int authenticate(struct smtp *s, const char *login, const char *password) {
    struct buf plain = {0}, encoded = {0};
    buf_add_char(&plain, 0);
    buf_add_str(&plain, login);
    buf_add_char(&plain, 0);
    buf_add_str(&plain, password);
    base64_encode(buf_slice(&plain), &encoded);
    int result = say(s, 235, "AUTH PLAIN ", buf_str(&encoded), "");
    buf_free(&plain);
    buf_free(&encoded);
    return result;
}

int smtp_open(struct smtp *s, const struct sockaddr_in *to, const char *login, const char *password) {
    s->connection = connection_open(to, false);
    if (!s->connection || expect(s, 220) || say(s, 250, "EHLO mx.load.test", "", "")) return -1;
    if (!login) return 0;
    if (say(s, 220, "STARTTLS", "", "")) return -1;
    if (connection_start_tls(s->connection)) {
        smtp_close(s);
        return -1;
    }
    return say(s, 250, "EHLO mx.load.test", "", "") || authenticate(s, login, password) ? -1 : 0;
}

int smtp_send(struct smtp *s, const char *from, const char *to, struct slice message) {
    if (say(s, 250, "MAIL FROM:<", from, ">") || say(s, 250, "RCPT TO:<", to, ">") || say(s, 354, "DATA", "", ""))
        return -1;
    if (connection_write(s->connection, message)) {
        smtp_close(s);
        return -1;
    }
    s->end_us = clock_monotonic_us();
    int result = expect(s, 250);
    s->answer_us = clock_monotonic_us();
    return result;
}

void smtp_close(struct smtp *s) {
    if (!s->connection) return;
    connection_printf(s->connection, "QUIT\r\n");
    connection_close(s->connection);
    s->connection = NULL;
}
