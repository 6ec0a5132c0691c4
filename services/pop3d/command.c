#include "services/pop3d/command.h"

static const struct {
    const char *name;
    enum pop3_verb verb;
} verbs[] = {
    {"CAPA", POP3_CAPA}, {"STLS", POP3_STLS}, {"USER", POP3_USER}, {"PASS", POP3_PASS},
    {"AUTH", POP3_AUTH}, {"UTF8", POP3_UTF8}, {"STAT", POP3_STAT}, {"LIST", POP3_LIST},
    {"UIDL", POP3_UIDL}, {"RETR", POP3_RETR}, {"TOP", POP3_TOP},   {"DELE", POP3_DELE},
    {"RSET", POP3_RSET}, {"LANG", POP3_LANG}, {"NOOP", POP3_NOOP}, {"QUIT", POP3_QUIT},
};

void pop3_parse(struct slice line, struct pop3_command *out) {
    struct slice keyword = line, rest = SLICE("");
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < line.n; i++)
        if (line.p[i] == '\0' || line.p[i] == '\r' || line.p[i] == '\n') return;
    ptrdiff_t space = slice_find(line, ' ');
    if (space >= 0) {
        keyword = slice_head(line, (size_t)space);
        rest = slice_skip(line, (size_t)space + 1);
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (slice_is_nocase(keyword, verbs[i].name)) out->verb = verbs[i].verb;
    out->text = rest;
    while (rest.n && out->count < 3) {
        struct slice word;
        if (!slice_cut(&rest, ' ', &word)) {
            word = rest;
            rest.n = 0;
        }
        if (word.n == 0) continue;
        if (out->count < 2) out->word[out->count] = word;
        out->count++;
    }
}

int pop3_number(struct slice word, uint32_t *value) {
    uint64_t number;
    if (slice_to_u64(word, UINT32_MAX, &number) != 0) return -1;
    *value = (uint32_t)number;
    return 0;
}
