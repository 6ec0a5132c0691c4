/* From an address to a session that is logged in. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/base64.h"
#include "services/cli/mailbox/imap/command.h"

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes text into out, which has room bytes. */
static int decode(struct slice text, char *out, size_t room) {
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '%') {
            if (i + 2 >= text.n || hex(text.p[i + 1]) < 0 || hex(text.p[i + 2]) < 0) return -1;
            c = (char)(hex(text.p[i + 1]) * 16 + hex(text.p[i + 2]));
            i += 2;
        }
        if ((unsigned char)c < ' ' || n + 1 >= room) return -1;
        out[n++] = c;
    }
    out[n] = 0;
    return n ? 0 : -1;
}

int source_address_read(struct slice url, struct source_address *out) {
    static const struct slice implicit = {"imaps://", 8}, starttls = {"imap://", 7};
    uint64_t port = 993;
    *out = (struct source_address){.starttls = slice_starts_nocase(url, starttls)};
    if (!out->starttls && !slice_starts_nocase(url, implicit)) return -1;
    if (out->starttls) port = 143;
    struct slice rest = slice_skip(url, out->starttls ? starttls.n : implicit.n);
    if (rest.n && rest.p[rest.n - 1] == '/') rest.n--;
    ptrdiff_t at = slice_find_last(rest, '@');
    if (at < 0 || decode(slice_head(rest, (size_t)at), out->user, sizeof out->user) != 0) return -1;
    struct slice host = slice_skip(rest, (size_t)at + 1), number = SLICE("");
    ptrdiff_t end = host.n && *host.p == '[' ? slice_find(host, ']') : -1, colon = slice_find_last(host, ':');
    if (colon > end) {
        number = slice_skip(host, (size_t)colon + 1);
        host = slice_head(host, (size_t)colon);
        if (slice_to_u64(number, 65535, &port) != 0 || !port) return -1;
    }
    if (end > 0) host = slice_skip(slice_head(host, (size_t)end), 1);
    if (slice_find(host, '/') >= 0 || decode(host, out->host, sizeof out->host) != 0) return -1;
    snprintf(out->port, sizeof out->port, "%u", (unsigned)port);
    return 0;
}

static enum source_result denied(struct source *s, const char *why) {
    snprintf(s->why, sizeof s->why, "%s", why);
    return SOURCE_DENIED;
}

static void wipe(struct buf *b) {
    if (b->data) explicit_bzero(b->data, b->n);
    buf_free(b);
}

/* AUTHENTICATE PLAIN (RFC 4616), or LOGIN where it is not announced. A refusal is final: no further attempts are made
 * with a wrong password. */
static enum source_result login(struct source *s) {
    struct buf command = {0}, plain = {0}, coded = {0};
    enum source_result result;
    if (command_can(s, "AUTH=PLAIN")) {
        buf_add_char(&plain, 0);
        buf_add_str(&plain, s->address->user);
        buf_add_char(&plain, 0);
        buf_add_str(&plain, s->password);
        base64_encode(buf_slice(&plain), &coded);
        buf_add_str(&command, "AUTHENTICATE PLAIN");
        result = command_continue(s, buf_slice(&command), buf_slice(&coded));
    } else if (command_can(s, "LOGINDISABLED")) {
        result = denied(s, "the server offers no login with a password");
    } else {
        buf_add_str(&command, "LOGIN ");
        result = SOURCE_NO;
        if (command_add_string(s, slice_of(s->address->user), &command)) {
            buf_add_char(&command, ' ');
            if (command_add_string(s, slice_of(s->password), &command))
                result = command_run(s, buf_slice(&command), NULL, NULL);
        }
    }
    wipe(&command);
    wipe(&plain);
    wipe(&coded);
    return result == SOURCE_NO ? SOURCE_DENIED : result;
}

static enum source_result connect_and_log_in(struct source *s) {
    struct imap_answer greeting;
    bool cut, starttls = s->address->starttls;
    if (imap_wire_open(&s->wire, s->address->host, s->address->port) != 0 ||
        (!starttls && imap_wire_start_tls(&s->wire, s->address->host, s->ca_file) != 0)) {
        snprintf(s->why, sizeof s->why, "cannot connect to %s port %s: %s", s->address->host, s->address->port,
                 s->wire.why);
        bool trusted = s->wire.tls && SSL_get_verify_result(s->wire.tls) == X509_V_OK;
        return s->wire.fd < 0 || trusted ? SOURCE_LOST : SOURCE_DENIED;
    }
    enum source_result result = command_read(s, &greeting, &cut);
    if (result != SOURCE_OK) return result;
    if (greeting.kind != IMAP_STATUS || (greeting.status != IMAP_OK && greeting.status != IMAP_PREAUTH))
        return denied(s, "this is not an IMAP server");
    bool open = greeting.status == IMAP_PREAUTH;
    if (starttls) {
        if (open) return denied(s, "the server does not allow TLS (PREAUTH)");
        result = command_run(s, SLICE("STARTTLS"), NULL, NULL);
        if (result != SOURCE_OK) return result == SOURCE_NO ? SOURCE_DENIED : result;
        if (imap_wire_start_tls(&s->wire, s->address->host, s->ca_file) != 0) return denied(s, s->wire.why);
    }
    result = command_ask_capabilities(s);
    if (result == SOURCE_OK && !open) result = login(s);
    if (result == SOURCE_OK) result = command_ask_capabilities(s);
    if (result == SOURCE_OK && command_can(s, "ID"))
        result = command_run(s, SLICE("ID (\"name\" \"postbus\")"), NULL, NULL);
    return result == SOURCE_NO ? SOURCE_OK : result;
}

enum source_result source_open(struct source *s) {
    source_close(s);
    if (!s->arena) s->arena = arena_create();
    enum source_result result = connect_and_log_in(s);
    if (result != SOURCE_OK) source_close(s);
    return result;
}

void source_close(struct source *s) {
    if (s->arena) imap_wire_close(&s->wire);
}

void source_free(struct source *s) {
    source_close(s);
    arena_destroy(s->arena);
    buf_free(&s->answer);
    buf_free(&s->capabilities);
    s->arena = NULL;
}
