#include "services/imapd/metadata/metadata.h"

#include <ctype.h>

#include "services/imapd/write.h"

/* RFC 5464 §3.2: at least two components (four below /vendor), no empty one, ASCII without controls,
 * "*" and "%". */
static bool is_valid(struct slice name) {
    size_t components = 0, least = 2;
    if (!name.n || name.n > LIMIT_METADATA_NAME || name.p[name.n - 1] == '/') return false;
    if (!slice_starts(name, SLICE("/private/")) && !slice_starts(name, SLICE("/shared/"))) return false;
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c < 0x20 || c >= 0x7f || c == '*' || c == '%' || (c == '/' && name.p[i + 1] == '/')) return false;
        components += c == '/';
    }
    struct slice rest = slice_skip(name, metadata_is_shared(name) ? 7 : 8);
    if (slice_is(rest, "/vendor") || slice_starts(rest, SLICE("/vendor/"))) least = 4;
    return components >= least;
}

bool metadata_is_shared(struct slice name) { return slice_starts(name, SLICE("/shared/")); }

static bool take_name(struct parser *p, struct slice *name, bool prefix) {
    struct slice wire;
    if (!parse_astring(p, &wire)) return false;
    char *copy = arena_copy(p->arena, wire);
    for (size_t i = 0; i < wire.n; i++) copy[i] = (char)tolower((unsigned char)copy[i]);
    *name = slice_make(copy, wire.n);
    if (prefix && (slice_is(*name, "/private") || slice_is(*name, "/shared") || slice_is(*name, "/private/vendor") ||
                   slice_is(*name, "/shared/vendor")))
        return true;
    return is_valid(*name);
}

bool metadata_parse_name(struct parser *p, struct slice *name) { return take_name(p, name, false); }

/* What is asked for may be the beginning of names, for DEPTH (RFC 5464 §4.2.2). */
bool metadata_parse_names(struct parser *p, struct metadata_names *names) {
    names->count = 0;
    if (!parse_char(p, '(')) {
        names->count = 1;
        return take_name(p, &names->names[0], true);
    }
    do {
        if (names->count == LIMIT_METADATA_NAMES || !take_name(p, &names->names[names->count], true)) return false;
        names->count++;
    } while (parse_space(p));
    return parse_char(p, ')');
}

bool metadata_parse_value(struct parser *p, struct slice *value, bool *nil) {
    return parse_nstring(p, value, nil) || (parse_peek(p) == '~' && parse_literal(p, value));
}

bool metadata_computed(struct session *s, const struct mailbox_folder *folder, struct slice name, struct slice *value) {
    if (folder && slice_is(name, METADATA_SPECIALUSE)) {
        *value = folder->special_use.n ? arena_slice(s->arena, folder->special_use) : slice_make(NULL, 0);
        return true;
    }
    if (folder || !slice_is(name, METADATA_ADMIN)) return false;
    const char *at = s->address ? strrchr(s->address, '@') : NULL;
    struct buf text = {0};
    if (at) buf_printf(&text, "mailto:postmaster%s", at);
    *value = at ? arena_slice(s->arena, buf_slice(&text)) : slice_make(NULL, 0);
    buf_free(&text);
    return true;
}

void metadata_write(struct metadata_writer *w, struct slice name, struct slice value) {
    struct buf *out = &w->s->out;
    if (w->any) {
        buf_add_char(out, ' ');
    } else {
        buf_add_str(out, "* METADATA ");
        name_to_client(w->s, w->mailbox);
        buf_add_str(out, " (");
        w->any = true;
    }
    write_astring(out, name, false);
    buf_add_char(out, ' ');
    if (!value.p)
        buf_add_str(out, "NIL");
    else if (value.n && memchr(value.p, 0, value.n))
        write_literal8(out, value);
    else
        write_string(out, value, w->s->rev2 || w->s->utf8);
}

void metadata_write_end(struct metadata_writer *w) {
    if (w->any) buf_add_str(&w->s->out, ")\r\n");
}
