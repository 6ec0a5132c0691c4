/* Trace fields, and what the events say of a client: text, and nothing but text. */
#include <stdio.h>

#include "libcommon/base/clock.h"
#include "services/smtpd/smtpd.h"

void trace_received(const struct session *s, struct buf *out) {
    char when[CLOCK_TEXT_BYTES];
    const char *ip = stream_peer(s->stream), *tls = stream_tls_version(s->stream);
    bool v6 = strchr(ip, ':') != NULL;
    /* RFC 5321 §4.4; the protocol's name from RFC 3848 and RFC 6531 §4.3 */
    buf_printf(out, "Received: from %s (%s%s%s%s)\r\n\tby %s (Postbus) with %s%s%s id %s", s->helo, v6 ? "[IPv6:" : "[",
               ip, "]", "", s->smtpd->worker->hostname,
               s->t.smtputf8 ? "UTF8SMTP"
               : s->esmtp    ? "ESMTP"
                             : "SMTP",
               *tls ? "S" : "", s->user ? "A" : "", s->t.id);
    if (*tls) buf_printf(out, "\r\n\t(using %s with cipher %s)", tls, stream_tls_cipher(s->stream));
    if (s->t.rcpt_count == 1)
        buf_printf(out, "\r\n\tfor <%.*s>",
                   SLICE_FMT(s->t.rcpts->address)); /* with several it would tell one of the others (§7.2) */
    buf_printf(out, ";\r\n\t%s\r\n", clock_rfc5322(clock_wall_ms(), when));
}

/* The end of a comment or quoted string that begins at i; nested comments are counted, not recursed into. */
static size_t skip_quoted(struct slice v, size_t i) {
    int depth = 0;
    bool quote = v.p[i] == '"';
    for (; i < v.n; i++) {
        if (v.p[i] == '\\')
            i++;
        else if (quote && depth++ && v.p[i] == '"')
            return i + 1;
        else if (!quote && v.p[i] == '(')
            depth++;
        else if (!quote && v.p[i] == ')' && --depth == 0)
            return i + 1;
    }
    return v.n;
}

struct slice trace_from_address(struct slice value) {
    size_t start = 0, end = value.n;
    for (size_t i = 0; i < value.n;) {
        char c = value.p[i];
        if (c == '"' || c == '(') {
            size_t past = skip_quoted(value, i);
            if (c == '(' && !slice_trim(slice_make(value.p + start, i - start)).n)
                start = past; /* a comment before the address */
            if (c == '(' && past >= value.n && end == value.n) end = i;
            i = past;
            continue;
        }
        if (c == '<') {
            struct slice rest = slice_skip(value, i + 1);
            ptrdiff_t close = slice_find(rest, '>');
            return close < 0 ? SLICE("") : slice_trim(slice_head(rest, (size_t)close));
        }
        if (c == ',' || c == ';') {
            end = i;
            break;
        }
        i++;
    }
    struct slice plain = slice_trim(slice_make(value.p + start, end > start ? end - start : 0));
    for (size_t i = 0; i < plain.n; i++)
        if (plain.p[i] == ' ' || plain.p[i] == '\t' || plain.p[i] == '\r' || plain.p[i] == '\n') return SLICE("");
    return slice_find(plain, '@') > 0 ? plain : SLICE("");
}

json_t *trace_client(const struct session *s) {
    const char *tls = stream_tls_version(s->stream);
    json_t *client = json_pack("{s:s,s:i,s:s,s:s}", "ip", stream_peer(s->stream), "port", stream_peer_port(s->stream),
                               "helo", s->helo, "protocol",
                               s->port == PORT_MX           ? "smtp"
                               : s->port == PORT_SUBMISSION ? "submission"
                                                            : "submissions");
    if (*tls) {
        json_object_set_new(client, "tls", json_string(tls));
        json_object_set_new(client, "cipher", json_string(stream_tls_cipher(s->stream)));
    }
    if (s->login) json_object_set_new(client, "login", json_string(s->login));
    return client;
}
