/* postbus account … */
#include <stdlib.h>

#include "libcommon/base/member.h"
#include "services/cli/cli.h"

static void print_account(const json_t *a) {
    printf("%s\t%s\t%lld\t%s\n", member_text(a, "address"), member_text(a, "user"),
           json_integer_value(json_object_get(a, "quota_bytes")), member_text(a, "created"));
}

static int call(struct cli *c, const char *method, const char *path, json_t *body) {
    json_t *answer;
    int failed = api_call(c, method, path, body, &answer);
    if (!failed && !print_json(c, answer)) {
        if (answer)
            print_account(answer);
        else
            printf("%s was deleted\n", c->words[0]);
    }
    json_decref(answer);
    return failed;
}

static int call_one(struct cli *c, const char *method, json_t *body) {
    struct buf path = {0};
    buf_add_str(&path, "/api/v1/accounts/");
    api_add(&path, c->words[0]);
    int failed = call(c, method, buf_str(&path), body);
    buf_free(&path);
    return failed;
}

static bool add_quota(const struct cli *c, json_t *body) {
    char *end;
    if (!c->quota) return true;
    long long bytes = strtoll(c->quota, &end, 10);
    if (*end || end == c->quota || bytes < 0) {
        fputs("postbus: --quota must be a number of bytes, 0 for no quota\n", stderr);
        return false;
    }
    json_object_set_new(body, "quota_bytes", json_integer(bytes));
    return true;
}

static int with_password(struct cli *c, bool creating) {
    json_t *body = json_object();
    char *password = add_quota(c, body) ? password_get(c) : NULL;
    if (password) json_object_set_new(body, "password", json_string(password));
    bool usable = password && json_object_get(body, "password");
    if (password && !usable) fputs("postbus: the password is not UTF-8\n", stderr);
    password_free(password);
    if (!usable) {
        json_decref(body);
        return CLI_USAGE;
    }
    if (creating) json_object_set_new(body, "address", json_string(c->words[0]));
    return creating ? call(c, "POST", "/api/v1/accounts", body) : call_one(c, "PATCH", body);
}

static int add(struct cli *c) { return with_password(c, true); }
static int passwd(struct cli *c) { return with_password(c, false); }
static int get(struct cli *c) { return call_one(c, "GET", NULL); }

static int delete(struct cli *c) {
    struct buf what = {0};
    buf_printf(&what, "delete %s and all its mail", c->words[0]);
    bool sure = confirm(c, buf_str(&what));
    buf_free(&what);
    return sure ? call_one(c, "DELETE", NULL) : CLI_FAILED;
}

static int quota(struct cli *c) {
    json_t *body = json_object();
    c->quota = c->words[1];
    if (add_quota(c, body)) return call_one(c, "PATCH", body);
    json_decref(body);
    return CLI_USAGE;
}

static int list(struct cli *c) {
    struct buf path = {0};
    json_t *answer, *each;
    size_t i;
    buf_add_str(&path, "/api/v1/accounts?domain=");
    api_add(&path, c->words[0]);
    api_add_page(c, &path, true);
    int failed = api_call(c, "GET", buf_str(&path), NULL, &answer);
    if (!failed && !print_json(c, answer)) {
        json_array_foreach(json_object_get(answer, "accounts"), i, each) print_account(each);
        print_next(answer);
    }
    json_decref(answer);
    buf_free(&path);
    return failed;
}

const struct command account_commands[] = {
    {"account", "add", "ADDRESS [--quota BYTES]", "add an account; asks for its password", 1, 1, add},
    {"account", "list", "DOMAIN", "accounts of a domain: address, user id, quota, created", 1, 1, list},
    {"account", "get", "ADDRESS", "one account", 1, 1, get},
    {"account", "delete", "ADDRESS [--yes]", "remove an account and all its mail", 1, 1, delete},
    {"account", "passwd", "ADDRESS", "set a new password", 1, 1, passwd},
    {"account", "quota", "ADDRESS BYTES", "set a quota; 0: no quota", 2, 2, quota},
    {0},
};
