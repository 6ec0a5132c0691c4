/* postbus queue …: the messages that wait for delivery, with their times and reasons. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libcommon/base/member.h"
#include "services/cli/cli.h"
#include "services/cli/verdict.h"

/* "45s", "12m", "3h", "2d": a duration for people. */
static const char *span(json_int_t ms, char out[24]) {
    json_int_t s = ms < 0 ? 0 : ms / 1000;
    if (s < 120)
        snprintf(out, 24, "%llds", s);
    else if (s < 7200)
        snprintf(out, 24, "%lldm", s / 60);
    else if (s < 172800)
        snprintf(out, 24, "%lldh", s / 3600);
    else
        snprintf(out, 24, "%lldd", s / 86400);
    return out;
}

static json_int_t number_of(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

static void print_rcpt(const json_t *rcpt, json_int_t now) {
    char text[24];
    json_int_t next = number_of(rcpt, "next");
    printf("    <%s>\t%s\t%lld tries", member_text(rcpt, "address"), member_text(rcpt, "state"),
           number_of(rcpt, "attempts"));
    if (next) printf("\tnext in %s", span(next - now, text));
    fputs("\t", stdout);
    if (*member_text(rcpt, "host")) printf("%s: ", member_text(rcpt, "host"));
    print_foreign(*member_text(rcpt, "last_reply") ? member_text(rcpt, "last_reply") : "-");
    putchar('\n');
}

static void print_entry(const json_t *entry, json_int_t now) {
    char age[24], next[24];
    const json_t *rcpt;
    size_t i;
    json_int_t due = number_of(entry, "due");
    printf("%s\t%lld bytes\t<%s>\tsince %s\t", member_text(entry, "id"), number_of(entry, "size"),
           member_text(entry, "from"), span(now - number_of(entry, "received"), age));
    const char *because = member_text(entry, "held_because");
    if (json_is_true(json_object_get(entry, "held"))) {
        fputs(*because ? "held: " : "held", stdout);
        print_foreign(because);
    } else if (json_is_true(json_object_get(entry, "leased")))
        fputs("in work", stdout);
    else if (due)
        printf("next in %s", span(due - now, next));
    else
        fputs("-", stdout);
    if (number_of(entry, "priority")) printf("\tpriority %lld", number_of(entry, "priority"));
    putchar('\n');
    json_array_foreach(json_object_get(entry, "rcpts"), i, rcpt) print_rcpt(rcpt, now);
}

static int list(struct cli *c) {
    struct buf path = {0};
    json_t *answer, *each;
    size_t i;
    bool more = false;
    buf_add_str(&path, "/api/v1/queue");
    if (c->domain) {
        buf_add_str(&path, "?domain=");
        api_add(&path, c->domain);
        more = true;
    }
    if (c->held || c->dead) {
        buf_printf(&path, "%cwhich=%s", more ? '&' : '?', c->dead ? "dead" : "held");
        more = true;
    }
    api_add_page(c, &path, more);
    int failed = api_call(c, "GET", buf_str(&path), NULL, &answer);
    if (!failed && !print_json(c, answer)) {
        json_int_t now = (json_int_t)time(NULL) * 1000;
        json_array_foreach(json_object_get(answer, "entries"), i, each) print_entry(each, now);
        if (json_array_size(json_object_get(answer, "entries")) == 0)
            fputs(more ? "the message is not in the queue\n" : "the queue is empty\n", stderr);
        print_next(answer);
    }
    json_decref(answer);
    buf_free(&path);
    return failed;
}

static int change(struct cli *c, const char *method, const char *tail, json_t *body, const char *said) {
    struct buf path = {0};
    json_t *answer;
    buf_add_str(&path, "/api/v1/queue/");
    api_add(&path, c->words[0]);
    buf_add_str(&path, tail);
    int failed = api_call(c, method, buf_str(&path), body, &answer);
    if (!failed && !c->json) printf("%s %s\n", c->words[0], said);
    json_decref(answer);
    buf_free(&path);
    return failed;
}

static int retry_domain(struct cli *c) {
    json_t *answer;
    int failed = api_call(c, "POST", "/api/v1/queue/retry", json_pack("{s:s}", "domain", c->domain), &answer);
    if (!failed && !print_json(c, answer))
        printf("%lld messages to %s are due now\n", number_of(answer, "entries"), c->domain);
    json_decref(answer);
    return failed;
}

static int retry(struct cli *c) {
    if (c->domain && c->count == 0) return retry_domain(c);
    if (!c->domain && c->count == 1) return change(c, "POST", "/retry", NULL, "is due now");
    fputs("usage: postbus queue retry ID, or postbus queue retry --domain DOMAIN\n", stderr);
    return CLI_USAGE;
}

static int hold(struct cli *c) { return change(c, "POST", "/hold", NULL, "is held until it is released"); }
static int release(struct cli *c) { return change(c, "POST", "/release", NULL, "is no longer held"); }
static int delete(struct cli *c) { return change(c, "DELETE", "", NULL, "was deleted; its sender gets no report"); }

static int priority(struct cli *c) {
    char *end;
    long n = strtol(c->words[1], &end, 10);
    if (*end || !*c->words[1] || n < -9 || n > 9) {
        fputs("the priority must be a number from -9 to 9\n", stderr);
        return CLI_USAGE;
    }
    return change(c, "PATCH", "", json_pack("{s:I}", "priority", (json_int_t)n), "has this priority now");
}

const struct command queue_commands[] = {
    {"queue", "list", "[--domain D] [--held | --dead]", "messages that wait for delivery, with the reasons", 0, 0,
     list},
    {"queue", "retry", "ID | --domain D", "try a message, or all to a domain, again now", 0, 1, retry},
    {"queue", "hold", "ID", "suspend the delivery of a message", 1, 1, hold},
    {"queue", "release", "ID", "end that", 1, 1, release},
    {"queue", "priority", "ID N", "set the priority of a message, -9 to 9", 2, 2, priority},
    {"queue", "delete", "ID", "delete a message without a report", 1, 1, delete},
    {0},
};
