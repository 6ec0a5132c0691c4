#include "services/imapd/search/results.h"

#include <stdlib.h>

#include "services/imapd/write.h"

static const char *take_option(struct parser *p, struct result_options *o) {
    struct slice word;
    if (!parse_atom(p, &word)) return "RETURN requires a list of options";
    if (slice_is_nocase(word, "MIN"))
        o->min = true;
    else if (slice_is_nocase(word, "MAX"))
        o->max = true;
    else if (slice_is_nocase(word, "COUNT"))
        o->count = true;
    else if (slice_is_nocase(word, "ALL"))
        o->all = true;
    else if (slice_is_nocase(word, "SAVE"))
        o->save = true;
    else if (slice_is_nocase(word, "UPDATE"))
        o->update = true;
    else if (slice_is_nocase(word, "CONTEXT"))
        return NULL;
    else if (!slice_is_nocase(word, "PARTIAL"))
        return "Unknown option of RETURN";
    else if (o->has_partial)
        return "PARTIAL is allowed once";
    else if (!(o->has_partial = parse_space(p) && parse_partial(p, &o->partial)))
        return "PARTIAL requires a range such as 1:100 or -1:-100";
    return NULL;
}

const char *result_options_parse(struct parser *p, struct result_options *o) {
    const char *wrong;
    o->extended = true;
    if (!parse_space(p) || !parse_char(p, '(')) return "RETURN requires a list of options";
    if (parse_char(p, ')')) return NULL;
    do
        if ((wrong = take_option(p, o))) return wrong;
    while (parse_space(p));
    if (!parse_char(p, ')')) return "RETURN requires a list of options";
    return o->has_partial && o->all ? "PARTIAL and ALL exclude each other" : NULL;
}

void result_options_complete(struct session *s, struct result_options *o) {
    o->extended = o->extended || s->rev2;
    if (o->extended && !o->min && !o->max && !o->count && !o->save && !o->has_partial) o->all = true;
}

uint32_t result_number(struct session *s, uint32_t uid) {
    return s->by_uid ? uid : (uint32_t)view_sequence(&s->view, view_find(&s->view, uid));
}

static void write_set(struct session *s, size_t count, const uint32_t uids[]) {
    uint32_t *numbers = arena_alloc(s->arena, count * sizeof *numbers + 1);
    for (size_t i = 0; i < count; i++) numbers[i] = result_number(s, uids[i]);
    set_write(&s->out, count, numbers);
}

static void write_partial(struct session *s, const struct partial_range *range, size_t count, const uint32_t uids[]) {
    size_t from, n = partial_of(range, count, &from);
    buf_printf(&s->out, " PARTIAL (%.*s ", SLICE_FMT(range->text));
    if (n)
        write_set(s, n, uids + from);
    else
        buf_add_str(&s->out, "NIL");
    buf_add_char(&s->out, ')');
}

/* RFC 7162 §3.1.10, RFC 4731 §3.2: the highest one of the messages that are told. */
static uint64_t told_modseq(const struct search_run *run, const struct result_options *o, size_t count,
                            const uint32_t uids[]) {
    uint64_t highest = 0;
    if (o->all || o->count || !count) return run->highest;
    size_t from = 0, n = o->has_partial ? partial_of(&o->partial, count, &from) : 0;
    for (size_t i = 0; i < n + 2; i++) {
        if ((i == n && !o->min) || (i == n + 1 && !o->max)) continue;
        const struct mailbox_record *r = view_find(run->view, i < n    ? uids[from + i]
                                                              : i == n ? uids[0]
                                                                       : uids[count - 1]);
        if (r && r->modseq > highest) highest = r->modseq;
    }
    return highest ? highest : run->highest;
}

void results_write(struct session *s, const struct result_options *o, const struct search_run *run, size_t count,
                   const uint32_t uids[]) {
    if (o->save && !o->min && !o->max && !o->count && !o->all && !o->has_partial) return;
    buf_add_str(&s->out, "* ESEARCH (TAG ");
    write_string(&s->out, s->tag, false);
    if (run->mailbox.n) {
        buf_add_str(&s->out, " MAILBOX ");
        name_to_client(s, run->mailbox);
        buf_printf(&s->out, " UIDVALIDITY %u", run->view->uidvalidity);
    }
    buf_add_str(&s->out, s->by_uid ? ") UID" : ")");
    if (o->min && count) buf_printf(&s->out, " MIN %u", result_number(s, uids[0]));
    if (o->max && count) buf_printf(&s->out, " MAX %u", result_number(s, uids[count - 1]));
    if (o->count) buf_printf(&s->out, " COUNT %zu", count);
    if (o->has_partial) write_partial(s, &o->partial, count, uids);
    if (o->all && count) {
        buf_add_str(&s->out, " ALL ");
        write_set(s, count, uids);
    }
    if (run->search.has_modseq && count)
        buf_printf(&s->out, " MODSEQ %llu", (unsigned long long)told_modseq(run, o, count, uids));
    buf_add_str(&s->out, "\r\n");
}

void results_save(struct session *s, const struct result_options *o, size_t count, const uint32_t uids[]) {
    if (!o->save) return;
    bool all = o->all || o->count || (!o->min && !o->max && !o->has_partial);
    size_t from = 0, n = o->has_partial ? partial_of(&o->partial, count, &from) : 0, kept = 0;
    free(s->saved);
    s->saved = memory_alloc((count + 1) * sizeof *s->saved);
    for (size_t i = 0; i < count; i++)
        if (all || (i >= from && i - from < n) || (o->min && i == 0) || (o->max && i + 1 == count))
            s->saved[kept++] = uids[i];
    numbers_sort(kept, s->saved);
    s->saved_count = kept;
}

void results_save_nothing(struct session *s, const struct result_options *o) {
    if (o->save) s->saved_count = 0;
}
