/* postbus domain … */
#include <string.h>

#include "libcommon/base/member.h"
#include "services/cli/cli.h"

/* Prints the settings in the form of domain set. */
static void print_settings(json_t *dns) {
    const char *name;
    const json_t *value, *item;
    size_t i;
    json_object_foreach(dns, name, value) {
        printf("\t%s=%s", name, json_is_string(value) ? json_string_value(value) : "");
        json_array_foreach(value, i, item) printf("%s%s", i ? "," : "", json_string_value(item));
        putchar('\n');
    }
}

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
            printf("%s\t%s\n", member_text(answer, "domain"), member_text(answer, "created"));
        else
            printf("%s %s\n", c->words[0], said);
        print_settings(json_object_get(answer, "dns"));
    }
    json_decref(answer);
    buf_free(&path);
    return failed;
}

static int add(struct cli *c) { return one(c, "POST", json_pack("{s:s}", "domain", c->words[0]), ""); }
static int get(struct cli *c) { return one(c, "GET", NULL, ""); }

static int delete(struct cli *c) {
    struct buf what = {0};
    buf_printf(&what, "delete %s with all its accounts and their mail", c->words[0]);
    bool sure = !c->force || confirm(c, buf_str(&what));
    buf_free(&what);
    return sure ? one(c, "DELETE", NULL, "was deleted") : CLI_FAILED;
}

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

static void domain_path(const struct cli *c, const char *tail, struct buf *path) {
    buf_add_str(path, "/api/v1/domains/");
    api_add(path, c->words[0]);
    buf_add_str(path, tail);
}

/* set NAME=VALUE …: changes only the named settings (RFC 7396) */
static int set(struct cli *c) {
    struct buf path = {0};
    json_t *dns = json_object(), *answer = NULL;
    for (int i = 1; i < c->count; i++) {
        char *value = strchr(c->words[i], '=');
        if (!value || value == c->words[i]) {
            fprintf(stderr, "postbus: %s is not NAME=VALUE\n", c->words[i]);
            json_decref(dns);
            return CLI_USAGE;
        }
        *value++ = '\0';
        json_t *item = json_string(value);
        if (strcmp(value, "default") == 0) {
            json_decref(item);
            item = json_null();
        } else if (strcmp(c->words[i], "caa") == 0) {
            json_decref(item);
            item = json_array();
            for (char *one; (one = strsep(&value, ","));)
                if (*one) json_array_append_new(item, json_string(one));
        }
        json_object_set_new(dns, c->words[i], item);
    }
    domain_path(c, "", &path);
    int failed = api_call(c, "PATCH", buf_str(&path), json_pack("{s:o}", "dns", dns), &answer);
    if (!failed && !print_json(c, answer)) printf("%s was changed\n", c->words[0]);
    json_decref(answer);
    buf_free(&path);
    return failed;
}

static void print_table(const json_t *answer) {
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(answer, "records"), i, one) {
        printf("%s\n  %s %s %s%s\n", member_text(one, "purpose"), member_text(one, "name"), member_text(one, "type"),
               member_text(one, "value"),
               json_is_true(json_object_get(one, "outside")) ? "  (in that domain's own zone)" : "");
    }
    json_array_foreach(json_object_get(answer, "ds"), i, one) printf(
        "DNSSEC: DS record for the parent's zone, to enter at your registrar\n  DS %s\n", json_string_value(one));
}

static int dns(struct cli *c) {
    struct buf path = {0}, out = {0};
    json_t *answer = NULL;
    const char *format = c->json ? "json" : c->format ? c->format : "zone";
    bool table = strcmp(format, "table") == 0, json = strcmp(format, "json") == 0;
    if (!table && !json && strcmp(format, "zone") != 0) {
        fputs("postbus: --format must be zone, json or table\n", stderr);
        return CLI_USAGE;
    }
    domain_path(c, "/dns", &path);
    int failed = table ? api_call(c, "GET", buf_str(&path), NULL, &answer)
                       : api_call_text(c, buf_str(&path), json ? "application/json" : "text/plain", &out);
    if (!failed && table) print_table(answer);
    if (!failed && !table) fwrite(buf_str(&out), 1, out.n, stdout);
    json_decref(answer);
    buf_free(&path);
    buf_free(&out);
    return failed;
}

static void print_finding(const json_t *f) {
    size_t i;
    const json_t *one;
    printf("%-11s %s %s: %s\n", member_text(f, "state"), member_text(f, "name"), member_text(f, "type"),
           member_text(f, "purpose"));
    if (strcmp(member_text(f, "state"), "right") != 0)
        json_array_foreach(json_object_get(f, "found"), i, one)
            printf("            found   %s\n", json_string_value(one));
    if (*member_text(f, "say")) printf("            %s\n", member_text(f, "say"));
    json_array_foreach(json_object_get(f, "publish"), i, one)
        printf("            publish %s\n", json_string_value(one));
}

static int check(struct cli *c) {
    struct buf path = {0};
    json_t *answer = NULL;
    size_t i;
    const json_t *one;
    domain_path(c, "/check", &path);
    int failed = api_call(c, "POST", buf_str(&path), NULL, &answer);
    long long wrong = json_integer_value(json_object_get(answer, "wrong")),
              unknown = json_integer_value(json_object_get(answer, "unknown"));
    if (!failed && !print_json(c, answer)) {
        json_array_foreach(json_object_get(answer, "findings"), i, one) print_finding(one);
        printf("%s: %lld to correct, %lld without an answer, DNSSEC %s\n", c->words[0], wrong, unknown,
               member_text(answer, "dnssec"));
    }
    if (!failed) failed = wrong ? CLI_FAILED : unknown ? CLI_TEMPORARY : CLI_OK;
    json_decref(answer);
    buf_free(&path);
    return failed;
}

const struct command domain_commands[] = {
    {"domain", "add", "DOMAIN", "add a domain and create its DKIM keys", 1, 1, add},
    {"domain", "list", "", "all domains", 0, 0, list},
    {"domain", "get", "DOMAIN", "one domain", 1, 1, get},
    {"domain", "set", "DOMAIN NAME=VALUE…",
     "set dmarc_policy, dmarc_rua, dmarc_ruf, mta_sts, bimi_location, bimi_authority, caa; =default: the site's "
     "setting",
     2, 9, set},
    {"domain", "delete", "DOMAIN [--force [--yes]]", "remove a domain; with --force also its accounts and their mail",
     1, 1, delete},
    {"domain", "dns", "DOMAIN [--format F]", "the records that it should publish, as lines of a zone file", 1, 1, dns},
    {"domain", "check", "DOMAIN",
     "check its DNS from outside, with the changes to make; exit status 1 when something is wrong", 1, 1, check},
    {0},
};
