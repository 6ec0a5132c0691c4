/* Finds the function of a complete command. */
#include "services/imapd/imapd.h"

struct command {
    const char *name;
    enum session_state least; /* the states in which it is allowed: this one and above (RFC 9051
                                 §3) */
    enum session_state most;
    bool uid; /* has a UID form */
    bool no_arguments;
    command_fn *run;
};

#define ANY SESSION_NOT_AUTHENTICATED, SESSION_SELECTED
#define BEFORE SESSION_NOT_AUTHENTICATED, SESSION_NOT_AUTHENTICATED
#define LOGGED_IN SESSION_AUTHENTICATED, SESSION_SELECTED
#define SELECTED SESSION_SELECTED, SESSION_SELECTED

static const struct command commands[] = {
    {"CAPABILITY", ANY, false, true, cmd_capability},
    {"NOOP", ANY, false, true, cmd_noop},
    {"LOGOUT", ANY, false, true, cmd_logout},
    {"ID", ANY, false, false, cmd_id},
    {"STARTTLS", BEFORE, false, true, cmd_starttls},
    {"LOGIN", BEFORE, false, false, cmd_login},
    {"AUTHENTICATE", BEFORE, false, false, cmd_authenticate},
    {"UNAUTHENTICATE", LOGGED_IN, false, true, cmd_unauthenticate},
    {"COMPRESS", LOGGED_IN, false, false, cmd_compress},
    {"ENABLE", LOGGED_IN, false, false, cmd_enable},
    {"NAMESPACE", LOGGED_IN, false, true, cmd_namespace},
    {"SELECT", LOGGED_IN, false, false, cmd_select},
    {"EXAMINE", LOGGED_IN, false, false, cmd_examine},
    {"CREATE", LOGGED_IN, false, false, cmd_create},
    {"DELETE", LOGGED_IN, false, false, cmd_delete},
    {"RENAME", LOGGED_IN, false, false, cmd_rename},
    {"SUBSCRIBE", LOGGED_IN, false, false, cmd_subscribe},
    {"UNSUBSCRIBE", LOGGED_IN, false, false, cmd_unsubscribe},
    {"LIST", LOGGED_IN, false, false, cmd_list},
    {"LSUB", LOGGED_IN, false, false, cmd_lsub},
    {"STATUS", LOGGED_IN, false, false, cmd_status},
    {"APPEND", LOGGED_IN, false, false, cmd_append},
    {"IDLE", LOGGED_IN, false, true, cmd_idle},
    {"GETQUOTA", LOGGED_IN, false, false, cmd_getquota},
    {"GETQUOTAROOT", LOGGED_IN, false, false, cmd_getquotaroot},
    {"ESEARCH", LOGGED_IN, false, false, cmd_esearch},
    {"SETQUOTA", LOGGED_IN, false, false, cmd_setquota},
    {"GETMETADATA", LOGGED_IN, false, false, cmd_getmetadata},
    {"SETMETADATA", LOGGED_IN, false, false, cmd_setmetadata},
    {"CHECK", SELECTED, false, true, cmd_noop},
    {"CANCELUPDATE", SELECTED, false, false, cmd_cancelupdate},
    {"CLOSE", SELECTED, false, true, cmd_close},
    {"UNSELECT", SELECTED, false, true, cmd_unselect},
    {"EXPUNGE", SELECTED, true, false, cmd_expunge},
    {"SEARCH", SELECTED, true, false, cmd_search},
    {"SORT", SELECTED, true, false, cmd_sort},
    {"THREAD", SELECTED, true, false, cmd_thread},
    {"FETCH", SELECTED, true, false, cmd_fetch},
    {"REPLACE", SELECTED, true, false, cmd_replace},
    {"STORE", SELECTED, true, false, cmd_store},
    {"COPY", SELECTED, true, false, cmd_copy},
    {"MOVE", SELECTED, true, false, cmd_move},
};

static const struct command *find(struct slice name) {
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (slice_is_nocase(name, commands[i].name)) return &commands[i];
    return NULL;
}

/* Whether the line has bytes that are not allowed outside literals. */
static bool has_bad_bytes(struct slice line) {
    return memchr(line.p, 0, line.n) || memchr(line.p, '\n', line.n) || memchr(line.p, '\r', line.n);
}

void dispatch(struct session *s) {
    struct parser p = {s->input.data, s->input.data + s->input.n, s->arena};
    const char *first_line_end = s->input.n ? memmem(s->input.data, s->input.n, "\r\n", 2) : NULL;
    struct slice first = {buf_str(&s->input), first_line_end ? (size_t)(first_line_end - s->input.data) : s->input.n};
    s->running = true;
    s->by_uid = false;
    s->job = NULL;
    s->on_line = NULL;
    s->on_drained = NULL;
    if (!s->input.n) p.p = p.end = "";
    if (!parse_tag(&p, &s->tag)) {
        s->tag = SLICE("*");
        session_bad(s, "No tag");
        return;
    }
    if (has_bad_bytes(first)) {
        session_bad(s, "A line must end with CRLF and must not contain NUL, CR or LF");
        return;
    }
    if (!parse_space(&p) || !parse_atom(&p, &s->name)) {
        session_bad(s, "No command");
        return;
    }
    if (slice_is_nocase(s->name, "UID")) {
        s->by_uid = true;
        if (!parse_space(&p) || !parse_atom(&p, &s->name)) {
            session_bad(s, "UID requires a command");
            return;
        }
    }
    const struct command *c = find(s->name);
    if (!c || (s->by_uid && !c->uid)) {
        session_bad(s, "Unknown command");
        return;
    }
    if (s->state < c->least || s->state > c->most) {
        if (s->state < SESSION_AUTHENTICATED)
            session_bad(s, "Log in first");
        else
            session_bad(s, c->least == SESSION_SELECTED ? "Select a mailbox first" : "Already logged in");
        return;
    }
    if (s->uidonly && c->uid && !s->by_uid && c->run != cmd_expunge) {
        session_bad(s, UID_REQUIRED);
        return;
    }
    if (c->no_arguments && !parse_end(&p)) {
        session_bad(s, "This command has no arguments");
        return;
    }
    c->run(s, &p);
}
