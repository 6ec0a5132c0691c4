#include "services/imapd/command/status.h"

static const struct {
    const char *name;
    enum status_item item;
} item_names[] = {{"MESSAGES", STATUS_MESSAGES}, {"UIDNEXT", STATUS_UIDNEXT}, {"UIDVALIDITY", STATUS_UIDVALIDITY},
                  {"UNSEEN", STATUS_UNSEEN},     {"RECENT", STATUS_RECENT},   {"HIGHESTMODSEQ", STATUS_HIGHESTMODSEQ},
                  {"SIZE", STATUS_SIZE},         {"DELETED", STATUS_DELETED}};
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
    const char *space = "";
    buf_add_str(&s->out, "* STATUS ");
    name_to_client(s, folder->name);
    buf_add_str(&s->out, " (");
    for (size_t i = 0; i < ITEMS; i++) {
        if (!(items & item_names[i].item)) continue;
        buf_printf(&s->out, "%s%s %llu", space, item_names[i].name, (unsigned long long)values[i]);
        space = " ";
    }
    buf_add_str(&s->out, ")\r\n");
}

struct status_job {
    struct slice name;
    unsigned items;
};

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct status_job *job = s->job;
    const struct mailbox_folder *folder = session_folder(s, error, count, folders, job->name, "NONEXISTENT");
    if (!folder) return;
    write_status(s, folder, job->items);
    session_ok_quietly(s, "STATUS done"); /* it asks about this folder, not about the selected one */
}

void cmd_status(struct session *s, struct parser *p) {
    struct status_job *job = arena_alloc(s->arena, sizeof *job);
    struct slice wire;
    s->job = job;
    if (!parse_space(p) || !parse_astring(p, &wire) || !parse_space(p) || !(job->items = parse_status_items(p)) ||
        !parse_end(p)) {
        session_bad(s, "STATUS requires a mailbox and a list of items");
        return;
    }
    if (!name_from_client(s, wire, &job->name)) {
        session_no(s, "[NONEXISTENT] No such mailbox");
        return;
    }
    if (job->items & STATUS_HIGHESTMODSEQ) s->condstore = true; /* RFC 7162 §3.1 */
    session_wait(s);
    mailbox_folder_find(session_redis(s), session_user(s), job->name, on_folders, s);
}
