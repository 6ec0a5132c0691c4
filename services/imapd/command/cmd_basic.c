/* CAPABILITY, NOOP, CHECK, LOGOUT, ID (RFC 2971), ENABLE (RFC 9051 §6.3.1), NAMESPACE. */
#include "services/imapd/imapd.h"

void cmd_capability(struct session *s, struct parser *p) {
    (void)p;
    session_untagged(s, "CAPABILITY ");
    session_capability(s, &s->out);
    buf_add_str(&s->out, "\r\n");
    session_ok(s, "CAPABILITY done");
}

void cmd_noop(struct session *s, struct parser *p) {
    (void)p;
    session_ok(s, "Done");
}

void cmd_logout(struct session *s, struct parser *p) {
    (void)p;
    session_untagged(s, "BYE Good bye\r\n");
    buf_printf(&s->out, "%.*s OK LOGOUT done\r\n", SLICE_FMT(s->tag));
    session_bye(s, NULL);
}

void cmd_id(struct session *s, struct parser *p) {
    bool nil, ok = parse_space(p);
    struct slice text;
    if (ok && parse_char(p, '(')) {
        for (bool first = true; ok && !parse_char(p, ')'); first = false)
            ok = (first || parse_space(p)) && parse_string(p, &text) && parse_space(p) && parse_nstring(p, &text, &nil);
    } else {
        ok = ok && parse_word(p, "NIL");
    }
    if (!ok || !parse_end(p)) {
        session_bad(s, "ID requires NIL or a list of pairs");
        return;
    }
    session_untagged(s, "ID (\"name\" \"Postbus\")\r\n");
    session_ok(s, "ID done");
}

void cmd_enable(struct session *s, struct parser *p) {
    struct slice name;
    struct buf enabled = {0};
    bool any = false;
    while (parse_space(p) && parse_atom(p, &name)) {
        any = true;
        if (slice_is_nocase(name, "IMAP4rev2")) {
            s->rev2 = true;
            buf_add_str(&enabled, " IMAP4rev2");
        } else if (slice_is_nocase(name, "UTF8=ACCEPT")) {
            s->utf8 = true;
            buf_add_str(&enabled, " UTF8=ACCEPT");
        } else if (slice_is_nocase(name, "CONDSTORE")) {
            s->condstore = true;
            buf_add_str(&enabled, " CONDSTORE");
        } else if (slice_is_nocase(name, "QRESYNC")) {
            s->condstore = s->qresync = true;
            buf_add_str(&enabled, " QRESYNC");
        }
    }
    if (any && parse_end(p)) {
        session_untagged(s, "ENABLED%s\r\n", buf_str(&enabled));
        session_ok(s, "ENABLE done");
    } else {
        session_bad(s, "ENABLE requires the names of extensions");
    }
    buf_free(&enabled);
}

void cmd_namespace(struct session *s, struct parser *p) {
    (void)p;
    session_untagged(s, "NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
    session_ok(s, "NAMESPACE done");
}
