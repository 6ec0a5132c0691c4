/* ENABLE (RFC 9051 §6.3.1, RFC 5161). */
#include <stddef.h>

#include "services/imapd/imapd.h"

/* What each name switches on in the session. */
static const struct {
    const char *name;
    size_t flags[2]; /* offsets in struct session; both may be the same */
} names[] = {
    {"IMAP4rev2", {offsetof(struct session, rev2), offsetof(struct session, rev2)}},
    {"UTF8=ACCEPT", {offsetof(struct session, utf8), offsetof(struct session, utf8)}},
    {"CONDSTORE", {offsetof(struct session, condstore), offsetof(struct session, condstore)}},
    {"UIDONLY", {offsetof(struct session, uidonly), offsetof(struct session, uidonly)}},
    {"QRESYNC", {offsetof(struct session, qresync), offsetof(struct session, condstore)}}, /* RFC 7162 §3.2.3 */
};
enum { NAMES = sizeof names / sizeof *names };

static void switch_on(struct session *s, size_t which) {
    for (size_t i = 0; i < 2; i++) *(bool *)((char *)s + names[which].flags[i]) = true;
}

/* Names that are not known, or cannot be enabled, are ignored. */
void cmd_enable(struct session *s, struct parser *p) {
    struct slice name;
    bool any = false, wanted[NAMES] = {false};
    while (parse_space(p)) {
        if (!parse_atom(p, &name)) break;
        any = true;
        for (size_t i = 0; i < NAMES; i++) wanted[i] = wanted[i] || slice_is_nocase(name, names[i].name);
    }
    if (!any || !parse_end(p) || p->end[-1] == ' ') {
        session_bad(s, "ENABLE requires the names of extensions");
        return;
    }
    session_untagged(s, "ENABLED");
    for (size_t i = 0; i < NAMES; i++) {
        if (!wanted[i]) continue;
        switch_on(s, i);
        buf_printf(&s->out, " %s", names[i].name);
    }
    buf_add_str(&s->out, "\r\n");
    session_ok(s, "ENABLE done");
}
