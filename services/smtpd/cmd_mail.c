/* MAIL and RCPT (RFC 5321 §4.1.1.2, §4.1.1.3) with SIZE (1870), 8BITMIME (6152), SMTPUTF8 (6531), DSN (3461),
 * REQUIRETLS (8689). */
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "services/smtpd/smtpd.h"

enum { ENVID_MAX = 100, ORCPT_MAX = 500 };

/* What a RCPT waits with while accounts is asked. */
struct pending_rcpt {
    struct session *session;
    struct slice address;
    const char *orcpt, *notify, *via;
    enum forward_report report;
};

/* xtext (RFC 3461 §4): printable, with "+" only as the start of "+XX". */
static bool is_xtext(struct slice v, size_t max) {
    if (!v.n || v.n > max) return false;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '!' || v.p[i] > '~' || v.p[i] == '=') return false;
        if (v.p[i] != '+') continue;
        for (int k = 1; k <= 2; k++)
            if (i + (size_t)k >= v.n || !v.p[i + (size_t)k] || !strchr("0123456789ABCDEF", v.p[i + (size_t)k]))
                return false;
    }
    return true;
}

/* One MAIL parameter: true, or false after refusing. */
static bool mail_parameter(struct session *s, struct slice key, struct slice value) {
    struct transaction *t = &s->t;
    if (slice_is_nocase(key, "SIZE")) {
        uint64_t size;
        if (slice_to_u64(value, UINT64_MAX, &size) != 0) {
            session_refuse(s, "501 5.5.4 SIZE is a number of bytes");
            return false;
        }
        if (size > s->smtpd->message_max) { /* RFC 1870 §6.1 */
            session_refuse(s, "552 5.3.4 the message is too large: at most %zu bytes", s->smtpd->message_max);
            return false;
        }
    } else if (slice_is_nocase(key, "BODY") && (slice_is_nocase(value, "7BIT") || slice_is_nocase(value, "8BITMIME"))) {
        t->body = slice_is_nocase(value, "7BIT") ? "7bit" : "8bitmime";
    } else if (slice_is_nocase(key, "SMTPUTF8") && !value.n) {
        t->smtputf8 = true;
    } else if (slice_is_nocase(key, "RET") && (slice_is_nocase(value, "FULL") || slice_is_nocase(value, "HDRS"))) {
        t->ret = slice_is_nocase(value, "FULL") ? "full" : "hdrs";
    } else if (slice_is_nocase(key, "ENVID") && is_xtext(value, ENVID_MAX)) {
        t->envid = arena_copy(t->arena, value);
    } else if (slice_is_nocase(key, "REQUIRETLS") && !value.n && stream_ssl(s->stream)) {
        t->require_tls = true;
    } else if (slice_is_nocase(key, "AUTH")) {
        /* RFC 4954 §5: who the client says sent it first; nothing here trusts that */
    } else {
        session_refuse(s, "555 5.5.4 the parameter %.*s is not known, or its value is not", SLICE_FMT(key));
        return false;
    }
    return true;
}

static void mail_accepted(struct session *s, struct slice from) {
    s->t.from = arena_slice(s->t.arena, from);
    s->t.has_from = true;
    session_reply(s, "250 2.1.0 Ok");
}

static void on_owns(void *ctx, int error, const json_t *reply) {
    struct session *s = ctx;
    s->ticket = 0;
    s->busy = false;
    if (error == BUS_OK && json_is_true(json_object_get(reply, "owns"))) {
        mail_accepted(s, s->t.from);
    } else {
        if (error == BUS_UNAVAILABLE)
            session_refuse(s, "451 4.3.0 your address cannot be checked now, try again");
        else
            session_refuse(s, "553 5.7.1 you are logged in as %s, and <%.*s> is not an address of yours", s->login,
                           SLICE_FMT(s->t.from));
        transaction_reset(s);
    }
    session_continue(s);
}

void cmd_mail(struct session *s, struct slice argument) {
    struct slice from, key, value;
    int got;
    if (s->t.has_from || s->t.chunking) {
        session_refuse(s, "503 5.5.1 a transaction is open already: DATA or RSET comes next");
        return;
    }
    if (session_is_submission(s) && !s->user) {
        if (stream_ssl(s->stream))
            session_refuse(s, "530 5.7.0 log in first: AUTH PLAIN or LOGIN");
        else
            session_refuse(s, "530 5.7.0 start TLS and log in first");
        return;
    }
    if (smtp_parse_path(&argument, "FROM", &from) != 0) {
        session_refuse(s, "501 5.1.7 this is no sender: MAIL FROM:<local@domain>");
        return;
    }
    while ((got = smtp_next_parameter(&argument, &key, &value)) == 1)
        if (!mail_parameter(s, key, value)) {
            transaction_reset(s);
            return;
        }
    if (got < 0) {
        transaction_reset(s);
        session_refuse(s, "501 5.5.4 the parameters are not of the form KEY=VALUE");
        return;
    }
    if (!smtp_is_ascii(from) && !s->t.smtputf8) {
        transaction_reset(s);
        session_refuse(
            s, "553 5.6.7 an address with characters beyond ASCII needs the SMTPUTF8 parameter"); /* RFC 6531 §3.5 */
        return;
    }
    if (!session_is_submission(s) || !from.n) {
        mail_accepted(s, from);
        return;
    }
    s->t.from = arena_slice(s->t.arena, from);
    session_ask(s, "accounts.owns", json_pack("{s:s,s:s%}", "user", s->user, "address", s->t.from.p, s->t.from.n),
                SMTP_RESOLVE_MS, on_owns);
}

/* Adds a recipient unless the message has it already (an alias may lead to the same account twice). false: too many. */
static bool rcpt_add(struct session *s, struct slice address, const char *user, const struct pending_rcpt *p) {
    struct transaction *t = &s->t;
    for (struct rcpt *r = t->rcpts; r; r = r->next)
        if (slice_equal_nocase(r->address, address) && strcmp(user ? user : "", r->user ? r->user : "") == 0)
            return true;
    if (t->rcpt_count == SMTP_RCPTS_MAX) return false;
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
    return true;
}

static void add_all(struct session *s, const struct pending_rcpt *p, const json_t *reply) {
    size_t i;
    json_t *each;
    bool room = s->t.rcpt_count + json_array_size(json_object_get(reply, "users")) +
                    json_array_size(json_object_get(reply, "remote")) <=
                SMTP_RCPTS_MAX; /* all or none */
    json_array_foreach(json_object_get(reply, "users"), i, each) room =
        room && rcpt_add(s, slice_of(json_string_value(json_object_get(each, "address"))),
                         json_string_value(json_object_get(each, "user")), p);
    json_array_foreach(json_object_get(reply, "remote"), i, each) room =
        room && rcpt_add(s, slice_of(json_string_value(each)), NULL, p);
    if (!room) {
        session_refuse(s, "452 4.5.3 too many recipients: send the rest in another message");
        return;
    }
    s->t.rcpt_accepted++;
    session_reply(s, "250 2.1.5 Ok");
}

static void on_resolved(void *ctx, int error, const json_t *reply) {
    struct pending_rcpt *p = ctx;
    struct session *s = p->session;
    const char *kind = json_string_value(json_object_get(reply, "kind"));
    s->ticket = 0;
    s->busy = false;
    if (error == BUS_UNAVAILABLE || (error == BUS_OK && !kind)) {
        session_refuse(s, "451 4.3.0 the address cannot be looked up now, try again");
    } else if (error == BUS_REFUSED && strcmp(bus_error_code(reply), "too_many") == 0) {
        session_refuse(s, "550 5.4.6 <%.*s>: this alias leads to too many addresses, or through too many aliases",
                       SLICE_FMT(p->address));
    } else if (error == BUS_REFUSED) {
        session_refuse(s, "553 5.1.3 <%.*s> is not a valid address", SLICE_FMT(p->address));
    } else if ((p->report == REPORT_FORGED || p->report == REPORT_EXPIRED) && strcmp(kind, "remote") != 0) {
        session_refuse(s, "550 5.1.1 <%.*s>: %s", SLICE_FMT(p->address),
                       p->report == REPORT_EXPIRED ? "this address was for reports on a message of long ago"
                                                   : "this is no address that a message of ours went out with");
    } else if (strcmp(kind, "local") == 0) {
        add_all(s, p, reply);
    } else if (strcmp(kind, "unknown") == 0) {
        session_refuse(s, "550 5.1.1 <%.*s>: there is no such mailbox here", SLICE_FMT(p->address));
    } else if (session_is_submission(s) || p->report == REPORT_TAKEN) {
        if (rcpt_add(s, p->address, NULL, p)) {
            s->t.rcpt_accepted++;
            session_reply(s, "250 2.1.5 Ok");
        } else {
            session_refuse(s, "452 4.5.3 too many recipients: send the rest in another message");
        }
    } else {
        session_refuse(s,
                       "554 5.7.1 <%.*s>: relay access denied: this server takes mail for its own domains here; to "
                       "send, log in on port 587 or 465",
                       SLICE_FMT(p->address));
    }
    session_continue(s);
}

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

void cmd_rcpt(struct session *s, struct slice argument) {
    struct slice address, key, value;
    struct transaction *t = &s->t;
    int got;
    if (!t->has_from || t->chunking) {
        session_refuse(s, "503 5.5.1 MAIL comes before RCPT, and RCPT before BDAT");
        return;
    }
    if (smtp_parse_path(&argument, "TO", &address) != 0 || !address.n) {
        session_refuse(s, "501 5.1.3 this is no recipient: RCPT TO:<local@domain>");
        return;
    }
    struct pending_rcpt *p = arena_alloc(t->arena, sizeof *p);
    p->session = s;
    while ((got = smtp_next_parameter(&argument, &key, &value)) == 1) {
        if (slice_is_nocase(key, "NOTIFY") && is_notify(value)) {
            char *notify = arena_copy(t->arena, value);
            for (char *c = notify; *c; c++) *c = (char)(*c | (*c >= 'A' && *c <= 'Z' ? 0x20 : 0));
            p->notify = notify;
        } else if (slice_is_nocase(key, "ORCPT") && is_xtext(value, ORCPT_MAX) && slice_find(value, ';') > 0) {
            p->orcpt = arena_copy(t->arena, value);
        } else {
            session_refuse(s, "555 5.5.4 the parameter %.*s is not known, or its value is not", SLICE_FMT(key));
            return;
        }
    }
    if (got < 0) {
        session_refuse(s, "501 5.5.4 the parameters are not of the form KEY=VALUE");
        return;
    }
    if (!smtp_is_ascii(address) && !t->smtputf8) {
        session_refuse(s, "553 5.6.7 an address with characters beyond ASCII needs the SMTPUTF8 parameter of MAIL");
        return;
    }
    if (t->rcpt_count >= SMTP_RCPTS_MAX) {
        session_refuse(s, "452 4.5.3 too many recipients: send the rest in another message");
        return;
    }
    p->address = arena_slice(t->arena, address);
    if (slice_find(address, '@') < 0) { /* "<postmaster>" (RFC 5321 §4.5.1): of this host's own domain, which is its
                                           name less the first label if need be */
        const char *hostname = s->smtpd->worker->hostname, *dot = strchr(hostname, '.');
        p->address =
            slice_of(arena_printf(t->arena, "postmaster@%s", dot && strchr(dot + 1, '.') ? dot + 1 : hostname));
    }
    p->via = forward_via(s, p->address);
    p->report = forward_report(s, &p->address);
    if (p->report == REPORT_WITH_SENDER) {
        session_refuse(s, "550 5.7.1 <%.*s>: this address takes reports alone, which have no sender (MAIL FROM:<>)",
                       SLICE_FMT(p->address));
        return;
    }
    s->busy = true;
    s->ticket =
        bus_request(s->smtpd->worker->bus, "accounts.resolve",
                    json_pack("{s:s%}", "address", p->address.p, p->address.n), SMTP_RESOLVE_MS, on_resolved, p);
}
