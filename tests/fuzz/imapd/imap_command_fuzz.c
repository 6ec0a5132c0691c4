/* A whole IMAP command from a stranger: every parser that a command's arguments meet, and the parts
 * of a message that a FETCH may name. */
#include <stdlib.h>

#include "services/imapd/fetch/fetch.h"
#include "services/imapd/metadata/metadata.h"
#include "services/imapd/search/search.h"
#include "services/imapd/syntax/mailbox_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena *arena = arena_create();
    const char *text = arena_copy(arena, slice_make(data, size));
    struct session *s = memory_alloc(sizeof *s);
    struct parser p = {text, text + size, arena};
    struct slice tag, name, word;
    struct literal literal;
    struct set set;
    struct fetch_items items = {0};
    struct search search = {0};
    struct flag_list flags;
    struct metadata_names names;
    bool nil;
    struct buf out = {0};
    int64_t when;
    s->arena = arena;
    literal_announced(slice_make(text, size), &literal);
    if (parse_tag(&p, &tag) && parse_space(&p) && parse_atom(&p, &name)) parse_space(&p);
    const struct parser at = p;
    if (parse_set(&p, &set)) {
        set_resolve(&set, 100);
        set_has(&set, 5);
        if (parse_space(&p) && parse_fetch_items(&p, &items)) {
            const struct mime *m = mime_parse(arena, slice_make(text, size));
            fetch_plan(&items);
            for (size_t i = 0; i < items.count; i++) {
                struct slice bytes;
                section_find(m, &items.items[i].section, &out, &bytes);
                section_find_binary(m, &items.items[i].section, &out);
            }
        }
    }
    p = at;
    parse_search(&p, s, &search);
    p = at;
    if (parse_astring(&p, &word)) parse_space(&p);
    parse_flag_list(&p, &flags);
    p = at;
    parse_list_mailbox(&p, &word);
    p = at;
    parse_date_time(&p, &when);
    p = at;
    parse_date(&p, &when);
    p = at;
    struct mailbox_filter filter;
    if (parse_mailbox_filter(s, &p, &filter)) mailbox_filter_has(&filter, slice_make(text, size / 2), true);
    p = at;
    if (!metadata_parse_names(&p, &names) && metadata_parse_name(&p, &word) && parse_space(&p))
        metadata_parse_value(&p, &word, &nil);
    buf_free(&out);
    free(s);
    arena_destroy(arena);
    return 0;
}
