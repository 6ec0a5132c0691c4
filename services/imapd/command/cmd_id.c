/* ID (RFC 2971): what a client says about itself is only logged. */
#include "libcommon/base/log.h"
#include "services/imapd/imapd.h"

/* "(field value …)" up to the bounds of RFC 2971 §3.3. NULL, or the reason of a BAD. */
static const char *take_pairs(struct parser *p, struct slice *name, struct slice *version) {
    struct slice field, value;
    bool nil;
    for (size_t count = 0; !parse_char(p, ')'); count++) {
        if (count == LIMIT_ID_PAIRS) return "ID accepts at most 30 pairs";
        if ((count && !parse_space(p)) || !parse_string(p, &field) || !parse_space(p) ||
            !parse_nstring(p, &value, &nil))
            return "ID requires NIL or a list of pairs";
        if (field.n > LIMIT_ID_FIELD) return "A field name of ID may have at most 30 bytes";
        if (value.n > LIMIT_ID_VALUE) return "A value of ID may have at most 1024 bytes";
        if (slice_is_nocase(field, "name")) *name = value;
        if (slice_is_nocase(field, "version")) *version = value;
    }
    return NULL;
}

void cmd_id(struct session *s, struct parser *p) {
    struct slice name = {"", 0}, version = {"", 0};
    const char *wrong = "ID requires NIL or a list of pairs";
    if (parse_space(p))
        wrong = parse_char(p, '(') ? take_pairs(p, &name, &version) : parse_word(p, "NIL") ? NULL : wrong;
    if (!wrong && !parse_end(p)) wrong = "ID requires NIL or one list of pairs";
    if (wrong) {
        session_bad(s, wrong);
        return;
    }
    if (name.n)
        log_info("client", "session", s->trace, "name", arena_copy(s->arena, name), "version",
                 arena_copy(s->arena, version), NULL);
    session_untagged(s, "ID (\"name\" \"Postbus\")\r\n");
    session_ok(s, "ID done");
}
