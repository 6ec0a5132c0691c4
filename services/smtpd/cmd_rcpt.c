/* RCPT (RFC 5321 §4.1.1.3) with DSN (3461). The commands of a pipelined group are looked up
 * concurrently; their replies are sent in order (RFC 2920 §3.2). */
#include <stdlib.h>

#include "services/smtpd/smtpd.h"

enum { ORCPT_MAX = 500 };

static const char too_many[] = "Too many recipients, send the message to the rest separately";

/* The check of the recipient */

static void judge(struct checking *c) {
    struct rcpt_command *p = c->rcpt;
    bool remote = p->resolved->kind == RESOLVE_REMOTE;
    if (!remote && (p->return_path == RETURN_FORGED || p->return_path == RETURN_EXPIRED))
        check_reject(c, 550, "5.1.1",
                     p->return_path == RETURN_EXPIRED
                         ? "<%.*s>: This address was for delivery reports on a message of long ago"
                         : "<%.*s>: No message from here was sent with this return address",
                     SLICE_FMT(p->address));
    else if (p->resolved->kind == RESOLVE_UNKNOWN)
        check_reject(c, 550, "5.1.1", "<%.*s>: No such mailbox here", SLICE_FMT(p->address));
    else if (remote && !session_is_submission(c->session) && p->return_path != RETURN_TAKEN)
        check_reject(c, 554, "5.7.1", "<%.*s>: Relay access denied; to send mail, log in on port 587 or 465",
                     SLICE_FMT(p->address));
}

static void on_resolved(struct checking *c, int error, struct slice reply) {
    struct rcpt_command *p = c->rcpt;
    char code[BUS_CODE_BYTES];
    p->resolved = error ? NULL : resolved_read(reply);
    if (error == BUS_UNAVAILABLE || (error == BUS_OK && !p->resolved)) {
        check_reject(c, 451, "4.3.0", "<%.*s>: The address cannot be looked up now, try again later",
                     SLICE_FMT(p->address));
    } else if (error && strcmp(bus_error_code_text(reply, code), "invalid") == 0) {
        check_reject(c, 553, "5.1.3", "<%.*s>: Invalid address", SLICE_FMT(p->address));
    } else if (error) { /* an alias that leads to too many addresses, or through too many aliases */
        check_reject(c, 550, "5.2.4", "<%.*s>: The address cannot be expanded", SLICE_FMT(p->address));
    } else {
        resolver_keep(c->session->smtpd->resolver, c->mark, p->address, p->resolved);
        judge(c);
    }
}

void check_recipient(struct checking *c) {
    struct rcpt_command *p = c->rcpt;
    p->resolved = resolver_find(c->session->smtpd->resolver, p->address);
    /* a cached answer never leads to a refusal */
    if (p->resolved && (p->resolved->kind == RESOLVE_LOCAL || session_is_submission(c->session))) {
        judge(c);
        return;
    }
    resolved_release(p->resolved);
    p->resolved = NULL;
    ask_resolve(c, p->address, on_resolved);
}

/* The answer */

/* Adds a recipient unless the message has it already: an alias may lead to the same account
 * twice. */
static void rcpt_add(struct session *s, struct slice address, const char *user, const struct rcpt_command *p) {
    struct transaction *t = &s->t;
    for (struct rcpt *r = t->rcpts; r; r = r->next)
        if (slice_equal_nocase(r->address, address) && strcmp(user ? user : "", r->user ? r->user : "") == 0) return;
    struct rcpt *r = arena_alloc(t->arena, sizeof *r);
    r->address = arena_slice(t->arena, address);
    r->user = user ? arena_copy(t->arena, slice_of(user)) : NULL;
    r->orcpt = p->orcpt;
    r->notify = p->notify;
    r->via = user ? NULL : p->via;
    if (t->last_rcpt)
        t->last_rcpt->next = r;
    else
        t->rcpts = r;
    t->last_rcpt = r;
    t->rcpt_count++;
}

/* Answers a command whose check is complete. Each accepted command counts, also a repeated one. */
static void answer(struct session *s, const struct rcpt_command *p) {
    const struct resolved *x = p->resolved;
    if (p->checking.verdict.code) {
        session_refuse_verdict(s, &p->checking.verdict);
        return;
    }
    size_t count = x->kind == RESOLVE_LOCAL ? x->count : 1;
    if (s->t.rcpt_accepted >= SMTP_RCPTS_MAX || s->t.rcpt_count + count > SMTP_RCPTS_MAX) {
        session_refuse(s, "452 4.5.3 %s", too_many); /* an alias's targets: all of them or none */
        return;
    }
    if (x->kind != RESOLVE_LOCAL) rcpt_add(s, p->address, NULL, p);
    for (size_t i = 0; i < x->count; i++) rcpt_add(s, slice_of(x->at[i].address), x->at[i].user, p);
    s->t.rcpt_accepted++;
    session_keep_verdict(s, &p->checking);
    session_reply(s, "250 2.1.5 OK");
}

static void first_free(struct session *s) {
    struct rcpt_command *p = s->pending;
    s->pending = p->next;
    s->pending_count--;
    resolved_release(p->resolved);
    free(p);
}

void rcpts_step(struct session *s) {
    for (struct rcpt_command *p = s->pending; p; p = p->next) stage_step(&p->checking);
    while (s->pending && !s->closing && stage_step(&s->pending->checking)) {
        answer(s, s->pending);
        first_free(s);
    }
}

void rcpts_free(struct session *s) {
    while (s->pending) first_free(s);
}

/* The command */

static bool is_notify(struct slice v) { /* RFC 3461 §4.1 */
    struct slice each;
    bool never = false, other = false;
    for (bool more = v.n > 0; more;) {
        more = slice_cut(&v, ',', &each);
        if (!more) each = v;
        if (slice_is_nocase(each, "NEVER"))
            never = true;
        else if (slice_is_nocase(each, "SUCCESS") || slice_is_nocase(each, "FAILURE") || slice_is_nocase(each, "DELAY"))
            other = true;
        else
            return false;
    }
    return never != other;
}

/* The reply to a bad parameter; false when it is good. */
static bool bad_parameter(struct rcpt_command *p, struct arena *arena, struct slice key, struct slice value) {
    struct checking *c = &p->checking;
    if (slice_is_nocase(key, "NOTIFY")) {
        char *notify = arena_copy(arena, value);
        for (char *x = notify; *x; x++) *x = (char)(*x | (*x >= 'A' && *x <= 'Z' ? 0x20 : 0));
        p->notify = notify;
        if (!is_notify(value)) check_reject(c, 501, "5.5.4", "Invalid value of the parameter NOTIFY");
    } else if (slice_is_nocase(key, "ORCPT")) {
        p->orcpt = arena_copy(arena, value);
        if (!is_xtext(value, ORCPT_MAX) || slice_find(value, ';') <= 0)
            check_reject(c, 501, "5.5.4", "Invalid value of the parameter ORCPT");
    } else {
        check_reject(c, 555, "5.5.4", "Unknown parameter %.*s", SLICE_FMT(key));
    }
    return c->verdict.code != 0;
}

/* Reads the command into p, or refuses. */
static void read_command(struct session *s, struct rcpt_command *p, struct slice argument) {
    struct transaction *t = &s->t;
    struct checking *c = &p->checking;
    struct slice address, key, value;
    int got = smtp_parse_path(&argument, "TO", &address);
    if (got != 0 || !address.n) {
        check_reject(c, 501, "5.1.3",
                     got == SMTP_PATH_TOO_LONG ? "The recipient address is too long"
                                               : "Syntax: RCPT TO:<local@domain>");
        return;
    }
    while ((got = smtp_next_parameter(&argument, &key, &value)) == 1)
        if (bad_parameter(p, t->arena, key, value)) return;
    if (got < 0) {
        check_reject(c, 501, "5.5.4", "Syntax: parameters are KEY=VALUE");
        return;
    }
    if (!smtp_is_ascii(address) && !t->smtputf8) {
        check_reject(c, 553, "5.6.7", "A non-ASCII address needs the parameter SMTPUTF8 of MAIL");
        return;
    }
    p->address = arena_slice(t->arena, address);
    if (slice_find(address, '@') < 0) { /* "<postmaster>" (RFC 5321 §4.5.1): of this host's own
                                           domain, which is its name less the first label if need
                                           be */
        const char *hostname = s->smtpd->worker->hostname, *dot = strchr(hostname, '.');
        p->address =
            slice_of(arena_printf(t->arena, "postmaster@%s", dot && strchr(dot + 1, '.') ? dot + 1 : hostname));
    }
    p->via = forward_via(s, p->address);
    p->return_path = forward_return(s, &p->address);
    if (p->return_path == RETURN_WITH_SENDER)
        check_reject(c, 550, "5.7.1", "<%.*s>: This address accepts delivery reports only (MAIL FROM:<>)",
                     SLICE_FMT(p->address));
}

void cmd_rcpt(struct session *s, struct slice argument) {
    if (!s->t.has_from || s->t.chunking) {
        /* a pending RCPT has a transaction, so this reply cannot overtake another */
        session_refuse(s, s->t.chunking ? "503 5.5.1 RCPT is not allowed after BDAT" : "503 5.5.1 Send MAIL first");
        return;
    }
    struct rcpt_command *p = memory_alloc(sizeof *p), **last = &s->pending;
    stage_begin(&p->checking, s, STAGE_RCPT);
    p->checking.rcpt = p;
    if (s->t.rcpt_accepted >= SMTP_RCPTS_MAX)
        check_reject(&p->checking, 452, "4.5.3", "%s", too_many);
    else
        read_command(s, p, argument);
    while (*last) last = &(*last)->next;
    *last = p;
    s->pending_count++;
}
