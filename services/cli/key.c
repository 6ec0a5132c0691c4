/* postbus key … */
#include <string.h>

#include "libcommon/base/member.h"
#include "services/cli/cli.h"

/* Prints a record as in a zone file: strings of at most 255 bytes (RFC 1035 §3.3.14). */
static void print_record(const char *name, const char *value) {
    printf("    %s. TXT", name);
    for (size_t at = 0, n = strlen(value); at == 0 || at < n; at += 255)
        printf(" \"%.*s\"", (int)(n - at < 255 ? n - at : 255), value + at);
    putchar('\n');
}

static void print_keys(const json_t *answer) {
    size_t i;
    json_t *key;
    json_array_foreach(json_object_get(answer, "keys"), i, key) {
        const char *state = json_is_true(json_object_get(key, "revoked")) ? "revoked" : member_text(key, "state");
        printf("%s\t%s\t%s\tsince %s\n    %s\n", member_text(key, "selector"), member_text(key, "algorithm"), state,
               member_text(key, "changed"), member_text(key, "note"));
        if (strcmp(member_text(key, "state"), "retired") != 0 || json_is_true(json_object_get(key, "revoked")))
            print_record(member_text(key, "name"), member_text(key, "value"));
    }
}

static int call(struct cli *c, const char *method, const char *tail) {
    struct buf path = {0};
    json_t *answer;
    buf_add_str(&path, "/api/v1/domains/");
    api_add(&path, c->words[0]);
    buf_add_str(&path, tail);
    int failed = api_call(c, method, buf_str(&path), NULL, &answer);
    if (!failed && !print_json(c, answer)) print_keys(answer);
    json_decref(answer);
    buf_free(&path);
    return failed;
}

static int list(struct cli *c) { return call(c, "GET", "/keys"); }
static int rotate(struct cli *c) { return call(c, "POST", c->now ? "/keys/rotate?now" : "/keys/rotate"); }

const struct command key_commands[] = {
    {"key", "list", "DOMAIN", "a domain's DKIM keys: state, record, what to do", 1, 1, list},
    {"key", "rotate", "DOMAIN [--now]", "create new DKIM keys; --now: the present ones are compromised and are revoked",
     1, 1, rotate},
    {0},
};
