/* postbus alias … */
#include <string.h>

#include "libcommon/base/member.h"
#include "services/cli/cli.h"

static void print_alias(const json_t *a) {
    size_t i;
    json_t *each;
    printf("%s", member_text(a, "address"));
    json_array_foreach(json_object_get(a, "targets"), i, each) printf("%s%s", i ? " " : "\t", json_string_value(each));
    putchar('\n');
}

static int finish(struct cli *c, int failed, json_t *answer) {
    if (!failed && !print_json(c, answer)) {
        if (answer)
            print_alias(answer);
        else
            printf("%s was deleted\n", c->words[0]);
    }
    json_decref(answer);
    return failed;
}

/* Targets are separate words, or several in one word, separated by commas. */
static int add(struct cli *c) {
    json_t *targets = json_array(), *answer;
    for (int i = 1; i < c->count; i++)
        for (char *one, *left = c->words[i]; (one = strsep(&left, ","));)
            if (*one) json_array_append_new(targets, json_string(one));
    int failed = api_call(c, "POST", "/api/v1/aliases",
                          json_pack("{s:s,s:o}", "address", c->words[0], "targets", targets), &answer);
    return finish(c, failed, answer);
}

static int one(struct cli *c, const char *method) {
    struct buf path = {0};
    json_t *answer;
    buf_add_str(&path, "/api/v1/aliases/");
    api_add(&path, c->words[0]);
    int failed = api_call(c, method, buf_str(&path), NULL, &answer);
    buf_free(&path);
    return finish(c, failed, answer);
}

static int get(struct cli *c) { return one(c, "GET"); }
static int delete(struct cli *c) { return one(c, "DELETE"); }

static int list(struct cli *c) {
    struct buf path = {0};
    json_t *answer, *each;
    size_t i;
    buf_add_str(&path, "/api/v1/aliases?domain=");
    api_add(&path, c->words[0]);
    api_add_page(c, &path, true);
    int failed = api_call(c, "GET", buf_str(&path), NULL, &answer);
    if (!failed && !print_json(c, answer)) {
        json_array_foreach(json_object_get(answer, "aliases"), i, each) print_alias(each);
        print_next(answer);
    }
    json_decref(answer);
    buf_free(&path);
    return failed;
}

const struct command alias_commands[] = {
    {"alias", "add", "ADDRESS TARGET…", "add or replace an alias; @DOMAIN is the catch-all", 2, 501, add},
    {"alias", "list", "DOMAIN", "aliases of a domain", 1, 1, list},
    {"alias", "get", "ADDRESS", "one alias", 1, 1, get},
    {"alias", "delete", "ADDRESS", "remove an alias", 1, 1, delete},
    {0},
};
