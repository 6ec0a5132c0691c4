#include "services/imapd/imapd.h"

static uint64_t system_flag(struct slice name) {
    static const struct {
        const char *name;
        uint64_t bit;
    } flags[] = {{"\\Seen", MAILBOX_SEEN},
                 {"\\Answered", MAILBOX_ANSWERED},
                 {"\\Flagged", MAILBOX_FLAGGED},
                 {"\\Deleted", MAILBOX_DELETED},
                 {"\\Draft", MAILBOX_DRAFT}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (slice_is_nocase(name, flags[i].name)) return flags[i].bit;
    return 0;
}

bool parse_flag_list(struct parser *p, struct flag_list *list) {
    bool parentheses = parse_char(p, '(');
    struct slice flag;
    *list = (struct flag_list){.keywords = arena_alloc(p->arena, LIMIT_FLAGS * sizeof *list->keywords)};
    if (parentheses && parse_char(p, ')')) return true;
    do {
        if (!parse_flag(p, &flag)) return false;
        uint64_t bit = system_flag(flag);
        list->system |= bit;
        if (bit || slice_is_nocase(flag, "\\Recent")) continue;
        if (*flag.p == '\\' || list->keyword_count == LIMIT_FLAGS) return false;
        list->keywords[list->keyword_count++] = flag;
    } while (parse_space(p));
    return !parentheses || parse_char(p, ')');
}

struct slice special_use_of(struct slice name) {
    static const char *const uses[] = {"\\Drafts", "\\Sent", "\\Junk", "\\Trash", "\\Archive"};
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        if (slice_is_nocase(name, uses[i])) return slice_of(uses[i]);
    return SLICE("");
}
