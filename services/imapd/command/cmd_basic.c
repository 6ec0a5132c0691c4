/* CAPABILITY, NOOP, CHECK, LOGOUT, NAMESPACE (RFC 9051 §6.1, §6.3.10). */
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

void cmd_namespace(struct session *s, struct parser *p) {
    (void)p;
    session_untagged(s, "NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
    session_ok(s, "NAMESPACE done");
}
