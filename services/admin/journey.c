/* A message's events as the ten steps of its journey. An event becomes one or more steps: an
 * accepted submission is the writing (1), the submission (2) and the resolution of the recipients
 * (3); a route is the MX query (4) and its security (5). Pure functions over JSON. */
#include <stdlib.h>

#include "libcommon/base/member.h"
#include "services/admin/admin.h"

struct step {
    json_t *steps;
    const json_t *event, *data;
    struct buf what;
    json_t *details; /* lines of the current step; add() takes ownership of them */
};

/* "a@x, b@y and 3 more" from an array of texts or of objects with that field. */
static void add_list(struct buf *out, const json_t *list, const char *field) {
    size_t n = json_array_size(list), shown = n > 4 ? 3 : n;
    for (size_t i = 0; i < shown; i++) {
        const json_t *each = json_array_get(list, i);
        const char *text = json_is_string(each) ? json_string_value(each) : member_text(each, field);
        buf_printf(out, "%s%s", i == 0 ? "" : i + 1 == n ? " and " : ", ", text);
    }
    if (shown < n) buf_printf(out, " and %zu more", n - shown);
    if (n == 0) buf_add_str(out, "nobody");
}

static const char *or_none(const char *text, const char *none) { return *text ? text : none; }

/* A subset of data: those of the named fields that exist. */
static json_t *fields_of(const json_t *data, const char *const names[]) {
    json_t *some = json_object();
    for (; *names; names++)
        if (json_object_get(data, *names)) json_object_set(some, *names, json_object_get(data, *names));
    return some;
}

/* Adds a step whose sentence is in s->what, and its details in s->details; takes ownership of
 * data. */
static void add(struct step *s, int number, const char *name, json_t *data) {
    struct slice source = slice_of(member_text(s->event, "source")), service;
    if (source.n && source.p[0] == '/') source = slice_skip(source, 1);
    if (!slice_cut(&source, '/', &service)) {
        service = source;
        source = SLICE("");
    }
    json_t *step = json_pack("{s:i,s:s,s:s,s:s%,s:s%,s:s,s:o,s:o}", "step", number, "name", name, "time",
                             member_text(s->event, "time"), "service", service.p, service.n, "host", source.p, source.n,
                             "what", buf_str(&s->what), "details", s->details, "data", data);
    s->details = json_array();
    if (step) json_array_append_new(s->steps, step);
    buf_reset(&s->what);
}

static void whole(struct step *s, int number, const char *name) { add(s, number, name, json_deep_copy(s->data)); }

/* "over TLSv1.3 (TLS_AES_256_GCM_SHA384)" */
static void add_tls(struct buf *out, const json_t *object) {
    const char *tls = member_text(object, "tls"), *cipher = member_text(object, "cipher");
    if (!*tls)
        buf_add_str(out, "without TLS");
    else if (*cipher)
        buf_printf(out, "over %s (%s)", tls, cipher);
    else
        buf_printf(out, "over %s", tls);
}

/* "spf=pass": a verdict's part is a word, or an object with "result". */
static void add_result(struct buf *out, const char *name, const json_t *part) {
    const json_t *one = json_is_array(part) ? json_array_get(part, 0) : part;
    const char *result = json_is_string(one) ? json_string_value(one) : member_text(one, "result");
    if (json_is_array(part)) /* of several signatures, one that passed is used */
        for (size_t i = 0; i < json_array_size(part); i++)
            if (strcmp(member_text(json_array_get(part, i), "result"), "pass") == 0) result = "pass";
    buf_printf(out, "%s%s %s", out->n && out->data[out->n - 1] != ' ' ? ", " : "", name, or_none(result, "none"));
}

static void add_verdict(struct step *s, const json_t *verdict) {
    static const struct {
        const char *field, *name;
    } parts[] = {{"spf", "SPF"}, {"dkim", "DKIM"}, {"dmarc", "DMARC"}, {"arc", "ARC"}, {"iprev", "reverse name"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        add_result(&s->what, parts[i].name, json_object_get(verdict, parts[i].field));
}

/* Where it is already, of each recipient that smtpd delivered to directly. */
static void delivered_at_once(struct step *s) {
    static const char *const names[] = {"user", "folder", "uid", "modseq", NULL};
    size_t i;
    json_t *each;
    json_array_foreach(json_object_get(s->data, "rcpts"), i, each) {
        if (!json_is_string(json_object_get(each, "folder"))) continue;
        json_t *data = fields_of(each, names);
        json_object_set(data, "rcpt", json_object_get(each, "address"));
        buf_printf(&s->what, "stored for %s in %s as uid %lld", member_text(each, "address"),
                   member_text(each, "folder"), json_integer_value(json_object_get(each, "uid")));
        add(s, 8, "delivered", data);
    }
}

static void on_submission(struct step *s) {
    static const char *const written[] = {"from", "message_id", "size", NULL},
                             *const submitted[] = {"client", "reply", "origin", "verdict", NULL},
                             *const sorted[] = {"rcpts", "shard", NULL};
    const json_t *client = json_object_get(s->data, "client"), *rcpts = json_object_get(s->data, "rcpts");
    json_t *local = json_array(), *remote = json_array(), *each;
    size_t i;
    buf_printf(&s->what, "%s wrote a message of %lld bytes and pressed Send",
               or_none(member_text(s->data, "from"), "somebody"), json_integer_value(json_object_get(s->data, "size")));
    add(s, 1, "written", fields_of(s->data, written));
    buf_printf(&s->what, "%s, logged in as %s, submitted it from %s ", or_none(member_text(client, "helo"), "a client"),
               or_none(member_text(client, "login"), member_text(s->data, "from")),
               or_none(member_text(client, "ip"), "an unknown address"));
    add_tls(&s->what, client);
    add(s, 2, "submitted", fields_of(s->data, submitted));
    json_array_foreach(rcpts, i, each) {
        if (strcmp(member_text(each, "user"), "reporter") != 0)
            json_array_append(json_is_string(json_object_get(each, "user")) ? local : remote, each);
    }
    if (json_array_size(local)) {
        add_list(&s->what, local, "address");
        buf_add_str(&s->what, json_array_size(local) == 1 ? " has a mailbox here" : " have mailboxes here");
    }
    if (json_array_size(remote)) {
        if (s->what.n) buf_add_str(&s->what, "; ");
        add_list(&s->what, remote, "address");
        buf_add_str(&s->what, json_array_size(remote) == 1 ? " is at another site" : " are at other sites");
    }
    if (!s->what.n)
        buf_add_str(&s->what, json_array_size(rcpts) ? "all recipients are report addresses" : "it has no recipients");
    words_of_recipients(s->details, s->data);
    add(s, 3, "sorted", fields_of(s->data, sorted));
    delivered_at_once(s);
    json_decref(local);
    json_decref(remote);
}

static void on_accepted(struct step *s) {
    static const char *const verified[] = {"client", "from", "verdict", "origin", NULL}, *const accepted[] = {
                                                                                             "rcpts",      "size",
                                                                                             "message_id", "shard",
                                                                                             "reply",      "sealed",
                                                                                             NULL};
    const char *origin = member_text(s->data, "origin");
    const json_t *client = json_object_get(s->data, "client");
    if (strcmp(origin, "submission") == 0) {
        on_submission(s);
        return;
    }
    if (strcmp(origin, "mx") == 0) {
        buf_printf(&s->what, "%s (%s) delivered it from <%s> ", or_none(member_text(client, "helo"), "a server"),
                   member_text(client, "ip"), member_text(s->data, "from"));
        add_tls(&s->what, client);
        buf_add_str(&s->what, "; ");
        add_verdict(s, json_object_get(s->data, "verdict"));
        words_of_verdict(s->details, json_object_get(s->data, "verdict"));
        add(s, 7, "verified", fields_of(s->data, verified));
    }
    buf_printf(&s->what,
               strcmp(origin, "bounce") == 0 || strcmp(origin, "report") == 0 ? "a report to " : "accepted for ");
    add_list(&s->what, json_object_get(s->data, "rcpts"), "address");
    buf_add_str(&s->what, json_is_false(json_object_get(s->data, "queued")) ? " and in the mailbox at once"
                                                                            : " and on disk in the queue");
    words_of_recipients(s->details, s->data);
    add(s, 8, "accepted", fields_of(s->data, accepted));
    delivered_at_once(s);
}

static void on_refused(struct step *s) {
    const json_t *client = json_object_get(s->data, "client");
    buf_printf(&s->what, "refused %s (%s): %lld %s %s", or_none(member_text(client, "helo"), "a client"),
               member_text(client, "ip"), json_integer_value(json_object_get(s->data, "code")),
               member_text(s->data, "enhanced"), member_text(s->data, "reason"));
    words_of_verdict(s->details, json_object_get(s->data, "verdict"));
    whole(s, 7, "refused");
}

static void on_routed(struct step *s) {
    static const char *const asked[] = {"domain", "hosts", NULL}, *const trusted[] = {"domain", "dnssec", "mta_sts",
                                                                                      "dane", NULL};
    const json_t *dane = json_object_get(s->data, "dane"), *sts = json_object_get(s->data, "mta_sts");
    const char *mode = json_is_object(sts)   ? member_text(sts, "mode")
                       : json_is_string(sts) ? json_string_value(sts)
                                             : "";
    const char *dane_text = json_is_string(dane) ? json_string_value(dane)
                            : json_is_true(dane) ? "applies"
                                                 : "does not apply";
    buf_printf(&s->what, "DNS was asked for the MX of %s: ", member_text(s->data, "domain"));
    add_list(&s->what, json_object_get(s->data, "hosts"), "name");
    add(s, 4, "asked for the MX", fields_of(s->data, asked));
    buf_printf(&s->what, "the answer is %s by DNSSEC; DANE %s; MTA-STS %s",
               or_none(member_text(s->data, "dnssec"), "not judged"), dane_text, or_none(mode, "has no policy"));
    words_of_route(s->details, s->data);
    add(s, 5, "answer judged", fields_of(s->data, trusted));
}

/* TLS of one connection; without an address, the policy excluded the host or could not be
 * fetched. */
static void on_tls(struct step *s) {
    static const struct {
        const char *type, *name;
    } kinds[] = {{"tlsa", "DANE"}, {"sts", "MTA-STS"}, {"no-policy-found", "no policy"}};
    const json_t *policy = json_object_get(s->data, "policy");
    const char *ip = member_text(s->data, "ip"), *reason = member_text(s->data, "reason"),
               *kind = member_text(policy, "type");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kind, kinds[i].type) == 0) kind = kinds[i].name;
    buf_printf(&s->what, "TLS with %s", member_text(s->data, "mx"));
    if (*ip) buf_printf(&s->what, " [%s]", ip);
    buf_printf(&s->what, ", policy %s of %s: %s", kind, member_text(policy, "domain"), member_text(s->data, "result"));
    if (*reason) buf_printf(&s->what, ": %s", reason);
    json_t *lines = json_object_get(policy, "string"), *line;
    size_t i;
    json_array_foreach(lines, i, line) json_array_append(s->details, line);
    whole(s, *ip ? 6 : 5, *ip ? "TLS tried" : "policy judged");
}

static void on_sent(struct step *s) {
    buf_printf(&s->what, "%s [%s]:%lld accepted it for %s ", member_text(s->data, "host"), member_text(s->data, "ip"),
               json_integer_value(json_object_get(s->data, "port")), member_text(s->data, "rcpt"));
    add_tls(&s->what, s->data);
    buf_printf(&s->what, ", identity proved by %s: %s", or_none(member_text(s->data, "tls_verified"), "none"),
               member_text(s->data, "reply"));
    whole(s, 6, "sent");
}

static void on_deferred(struct step *s) {
    buf_printf(&s->what, "not yet for %s (attempt %lld): %s", member_text(s->data, "rcpt"),
               json_integer_value(json_object_get(s->data, "attempt")), member_text(s->data, "reason"));
    whole(s, 6, "deferred");
}

static void on_bounced(struct step *s) {
    buf_printf(&s->what, "failed permanently for %s: %s", member_text(s->data, "rcpt"), member_text(s->data, "reason"));
    if (*member_text(s->data, "dsn"))
        buf_printf(&s->what, "; report %s was sent to the sender", member_text(s->data, "dsn"));
    whole(s, 6, "bounced");
}

static void on_deleted(struct step *s) {
    buf_add_str(&s->what, "deleted from the queue by an administrator, without a report: ");
    add_list(&s->what, json_object_get(s->data, "rcpts"), "");
    whole(s, 6, "deleted");
}

static void on_dead(struct step *s) {
    buf_printf(&s->what, "put aside: %s", member_text(s->data, "reason"));
    whole(s, 6, "dead");
}

static void on_delivered(struct step *s) {
    buf_printf(&s->what, "stored for %s in %s as uid %lld", member_text(s->data, "rcpt"),
               member_text(s->data, "folder"), json_integer_value(json_object_get(s->data, "uid")));
    whole(s, 8, "delivered");
}

static void connected(struct step *s) {
    static const char *const names[] = {"user", "client", "protocol", "tls", NULL};
    buf_printf(&s->what, "the recipient's client at %s is connected by %s ",
               member_text(json_object_get(s->data, "client"), "ip"),
               strcmp(member_text(s->data, "protocol"), "pop3") == 0 ? "POP3" : "IMAP");
    add_tls(&s->what, s->data);
    add(s, 9, "connected", fields_of(s->data, names));
}

static void on_announced(struct step *s) {
    connected(s);
    buf_printf(&s->what, "it appeared in %s at %s as uid %lld", member_text(s->data, "folder"),
               member_text(json_object_get(s->data, "client"), "ip"),
               json_integer_value(json_object_get(s->data, "uid")));
    whole(s, 10, "appeared");
}

static void on_fetched(struct step *s) {
    bool pop3 = strcmp(member_text(s->data, "protocol"), "pop3") == 0;
    if (pop3) connected(s);
    buf_printf(&s->what, "the client at %s read its %lld bytes by %s",
               member_text(json_object_get(s->data, "client"), "ip"),
               json_integer_value(json_object_get(s->data, "size")), pop3 ? "POP3" : "IMAP");
    whole(s, 10, "read");
}

static const struct {
    const char *type;
    void (*map)(struct step *s);
} maps[] = {
    {"postbus.mail.accepted", on_accepted},   {"postbus.mail.refused", on_refused},
    {"postbus.mail.routed", on_routed},       {"postbus.mail.sent", on_sent},
    {"postbus.mail.deferred", on_deferred},   {"postbus.mail.bounced", on_bounced},
    {"postbus.mail.delivered", on_delivered}, {"postbus.mail.announced", on_announced},
    {"postbus.mail.fetched", on_fetched},     {"postbus.mail.tls", on_tls},
    {"postbus.mail.deleted", on_deleted},     {"postbus.mail.dead", on_dead},
};

struct timed {
    bool accepted; /* local mail is in the mailbox just before the sender gets 250; the steps are
                      shown in their order */
    const char *time;
    size_t order;
    const json_t *event;
};

static int by_time(const void *x, const void *y) {
    const struct timed *a = x, *b = y;
    int time = strcmp(a->time, b->time);
    if (a->accepted != b->accepted) return a->accepted ? -1 : 1;
    return time ? time : (a->order > b->order) - (a->order < b->order);
}

json_t *journey_steps(const json_t *events) {
    size_t n = json_array_size(events);
    struct step s = {.steps = json_array(), .details = json_array()};
    struct timed *sorted = calloc(n + 1, sizeof *sorted);
    for (size_t i = 0; sorted && i < n; i++) {
        const json_t *event = json_array_get(events, i);
        bool accepted = strcmp(member_text(event, "type"), "postbus.mail.accepted") == 0;
        sorted[i] = (struct timed){accepted, member_text(event, "time"), i, event};
    }
    if (sorted) qsort(sorted, n, sizeof *sorted, by_time);
    for (size_t i = 0; sorted && i < n; i++) {
        s.event = sorted[i].event;
        s.data = json_object_get(s.event, "data");
        for (size_t m = 0; m < sizeof maps / sizeof *maps && json_is_object(s.data); m++)
            if (strcmp(maps[m].type, member_text(s.event, "type")) == 0) maps[m].map(&s);
    }
    free(sorted);
    buf_free(&s.what);
    json_decref(s.details);
    return s.steps;
}
