#include "services/imapd/syntax/status.h"

static const struct {
    const char *name;
    enum status_item item;
} item_names[] = {{"MESSAGES", STATUS_MESSAGES}, {"UIDNEXT", STATUS_UIDNEXT}, {"UIDVALIDITY", STATUS_UIDVALIDITY},
                  {"UNSEEN", STATUS_UNSEEN},     {"RECENT", STATUS_RECENT},   {"HIGHESTMODSEQ", STATUS_HIGHESTMODSEQ},
                  {"SIZE", STATUS_SIZE},         {"DELETED", STATUS_DELETED}, {"MAILBOXID", STATUS_MAILBOXID}};
enum { ITEMS = sizeof item_names / sizeof *item_names };

unsigned parse_status_items(struct parser *p) {
    unsigned items = 0;
    struct slice name;
    if (!parse_char(p, '(')) return 0;
    do {
        size_t i = 0;
        if (!parse_atom(p, &name)) return 0;
        while (i < ITEMS && !slice_is_nocase(name, item_names[i].name)) i++;
        if (i == ITEMS) return 0;
        items |= item_names[i].item;
    } while (parse_space(p));
    return parse_char(p, ')') ? items : 0;
}

void write_status(struct session *s, const struct mailbox_folder *folder, unsigned items) {
    const uint64_t values[ITEMS] = {folder->messages,      folder->uidnext, folder->uidvalidity, folder->unseen, 0,
                                    folder->highestmodseq, folder->bytes,   folder->deleted};
    char id[MAILBOX_OBJECT_ID_MAX];
    const char *space = "";
    buf_add_str(&s->out, "* STATUS ");
    name_to_client(s, folder->name);
    buf_add_str(&s->out, " (");
    for (size_t i = 0; i < ITEMS; i++) {
        if (!(items & item_names[i].item)) continue;
        buf_printf(&s->out, "%s%s ", space, item_names[i].name);
        if (item_names[i].item == STATUS_MAILBOXID)
            buf_printf(&s->out, "(%.*s)", SLICE_FMT(mailbox_folder_object_id(session_user(s), folder->id, id)));
        else
            buf_printf(&s->out, "%llu", (unsigned long long)values[i]);
        space = " ";
    }
    buf_add_str(&s->out, ")\r\n");
}
