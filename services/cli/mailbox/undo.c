/* postbus mailbox removed, restore and undo: mail that was removed, put back. */
#include <stdlib.h>
#include <string.h>

#include "libcommon/base/member.h"
#include "services/cli/cli.h"

static long long number(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

static void path_of(const struct cli *c, const char *tail, struct buf *path) {
    buf_add_str(path, "/api/v1/accounts/");
    api_add(path, c->words[0]);
    buf_add_str(path, tail);
}

static int removed(struct cli *c) {
    struct buf path = {0};
    json_t *answer, *each;
    size_t i;
    path_of(c, "/removed", &path);
    api_add_page(c, &path, false);
    int failed = api_call(c, "GET", buf_str(&path), NULL, &answer);
    buf_free(&path);
    if (failed) return failed;
    if (!print_json(c, answer)) {
        const char *from = json_string_value(json_object_get(answer, "from"));
        printf("kept: %lld messages, %lld bytes; complete since %s\n", number(answer, "messages"),
               number(answer, "bytes"), from ? from : "the account was made");
        json_array_foreach(json_object_get(answer, "removed"), i, each) {
            if (json_object_get(each, "id"))
                printf("%s  %s  %8lld bytes  %s  received %s\n", member_text(each, "at"), member_text(each, "id"),
                       number(each, "size"), member_text(each, "folder"), member_text(each, "date"));
            else
                printf("%s  folder %s, %lld messages\n", member_text(each, "at"), member_text(each, "folder"),
                       number(each, "messages"));
        }
    }
    json_decref(answer);
    return CLI_OK;
}

static int restore(struct cli *c) {
    struct buf path = {0}, beside = {0};
    json_t *answer, *body = json_object();
    bool in_place = c->in_place || (!c->at && !c->beside);
    if (c->in_place && c->beside) {
        fputs("postbus: either --beside or --in-place\n", stderr);
        json_decref(body);
        return CLI_USAGE;
    }
    if (!c->at && !c->folder && !c->message_count) {
        fputs("postbus: give --at TIME, or --message ID or --folder F of what was removed (postbus mailbox removed)\n",
              stderr);
        json_decref(body);
        return CLI_USAGE;
    }
    if (c->at) json_object_set_new(body, "at", json_string(c->at));
    if (c->folder) json_object_set_new(body, "folder", json_string(c->folder));
    if (c->message_count) {
        json_t *list = json_array();
        for (int i = 0; i < c->message_count; i++) json_array_append_new(list, json_string(c->messages[i]));
        json_object_set_new(body, "messages", list);
    }
    if (!in_place) {
        buf_printf(&beside, "Restored%s%s", c->at ? " " : "", c->at ? c->at : "");
        json_object_set_new(body, "beside", json_string(buf_str(&beside)));
    }
    path_of(c, "/restore", &path);
    int failed = api_call(c, "POST", buf_str(&path), body, &answer);
    buf_free(&path);
    if (!failed && !print_json(c, answer))
        printf("%lld messages put back%s%s, flags of %lld set, %lld were there\n", number(answer, "messages"),
               in_place ? "" : " into ", buf_str(&beside), number(answer, "flags"), number(answer, "present"));
    buf_free(&beside);
    if (!failed) json_decref(answer);
    return failed;
}

static int undo(struct cli *c) {
    struct buf path = {0};
    json_t *answer = NULL, *body = json_object();
    char *end;
    if (strcmp(c->words[1], "site") != 0) {
        long days = strtol(c->words[1], &end, 10);
        if (*end || end == c->words[1] || days < 0) {
            fputs("postbus: a number of days, or site\n", stderr);
            json_decref(body);
            return CLI_USAGE;
        }
        json_object_set_new(body, "days", json_integer(days));
    }
    path_of(c, "/undo", &path);
    int failed = api_call(c, "PUT", buf_str(&path), body, &answer);
    buf_free(&path);
    json_decref(answer);
    return failed;
}

const struct command undo_commands[] = {
    {"mailbox", "removed", "ADDRESS", "what was removed from an account's mailbox and is still kept", 1, 1, removed},
    {"mailbox", "restore", "ADDRESS", "put back removed messages or a folder, or an account as it was at a time", 1, 1,
     restore},
    {"mailbox", "undo", "ADDRESS DAYS|site", "for how long removed mail of this account is kept", 2, 2, undo},
    {0},
};
