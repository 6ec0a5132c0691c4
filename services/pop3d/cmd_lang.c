/* LANG (RFC 6856 §3): the texts of replies are in English. */
#include "services/pop3d/pop3d.h"

void cmd_lang(struct session *s, const struct pop3_command *c) {
    if (c->count == 0) {
        session_ok(s, "Language listing follows:");
        stream_write(s->stream, SLICE("en English\r\n.\r\n"));
    } else if (c->count == 1 && (slice_is_nocase(c->word[0], "en") || slice_is(c->word[0], "*"))) {
        session_ok(s, "en Texts are in English");
    } else {
        session_err(s, "en Only English (en) is spoken here");
    }
}
