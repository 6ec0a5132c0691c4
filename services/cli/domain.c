/* postbus domain … */
#include "services/cli/cli.h"

static int one(struct cli *c, const char *method, json_t *body, const char *said) {
    struct buf path = {0};
    json_t *answer;
    buf_add_str(&path, "/api/v1/domains");
    if (!body) {
        buf_add_char(&path, '/');
        api_add(&path, c->words[0]);
        if (c->force) buf_add_str(&path, "?force");
    }
    int failed = api_call(c, method, buf_str(&path), body, &answer);
    if (!failed && !print_json(c, answer)) {
        if (answer)
            printf("%s\t%s\n", text_of(answer, "domain"), text_of(answer, "created"));
        else
            printf("%s %s\n", c->words[0], said);
    }
    json_decref(answer);
    buf_free(&path);
    return failed;
}

static int add(struct cli *c) { return one(c, "POST", json_pack("{s:s}", "domain", c->words[0]), ""); }
static int get(struct cli *c) { return one(c, "GET", NULL, ""); }
static int delete(struct cli *c) { return one(c, "DELETE", NULL, "is gone"); }

static int list(struct cli *c) {
    struct buf path = {0};
    json_t *answer, *each;
    size_t i;
    buf_add_str(&path, "/api/v1/domains");
    api_add_page(c, &path, false);
    int failed = api_call(c, "GET", buf_str(&path), NULL, &answer);
    if (!failed && !print_json(c, answer)) {
        json_array_foreach(json_object_get(answer, "domains"), i, each) puts(json_string_value(each));
        print_next(answer);
    }
    json_decref(answer);
    buf_free(&path);
    return failed;
}

static int dns(struct cli *c) {
    struct buf path = {0}, out = {0};
    buf_add_str(&path, "/api/v1/domains/");
    api_add(&path, c->words[0]);
    buf_add_str(&path, "/dns");
    int failed = api_call_text(c, buf_str(&path), c->json ? "application/json" : "text/plain", &out);
    if (!failed) fwrite(buf_str(&out), 1, out.n, stdout);
    buf_free(&path);
    buf_free(&out);
    return failed;
}

const struct command domain_commands[] = {
    {"domain", "add", "DOMAIN", "add a domain; its DKIM keys are made", 1, 1, add},
    {"domain", "list", "", "all domains", 0, 0, list},
    {"domain", "get", "DOMAIN", "one domain", 1, 1, get},
    {"domain", "delete", "DOMAIN [--force]", "remove a domain; with --force also its accounts and their mail", 1, 1, delete},
    {"domain", "dns", "DOMAIN", "the records it should publish, as lines of a zone file", 1, 1, dns},
    {0},
};
