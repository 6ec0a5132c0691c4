/* postbus journey, postbus message verdict, postbus health. */
#include <stdlib.h>

#include "libcommon/base/member.h"
#include "services/cli/cli.h"
#include "services/cli/verdict.h"

static int journey(struct cli *c) {
    struct buf path = {0};
    json_t *answer, *each, *line;
    size_t i, j;
    buf_add_str(&path, "/api/v1/messages/");
    api_add(&path, c->words[0]);
    buf_add_str(&path, "/journey");
    int failed = api_call(c, "GET", buf_str(&path), NULL, &answer);
    if (!failed && !print_json(c, answer)) {
        printf("message %s\n", member_text(answer, "id"));
        json_array_foreach(json_object_get(answer, "steps"), i, each) {
            printf("%2lld  %-24s  %-16s  %s@%s: ", json_integer_value(json_object_get(each, "step")),
                   member_text(each, "time"), member_text(each, "name"), member_text(each, "service"),
                   member_text(each, "host"));
            print_foreign(member_text(each, "what"));
            putchar('\n');
            json_array_foreach(json_object_get(each, "details"), j, line) {
                printf("%30s", "");
                print_foreign(json_is_string(line) ? json_string_value(line) : "");
                putchar('\n');
            }
        }
    }
    json_decref(answer);
    buf_free(&path);
    return failed;
}

static int verdict(struct cli *c) {
    struct buf path = {0};
    json_t *answer;
    buf_add_str(&path, "/api/v1/messages/");
    api_add(&path, c->words[0]);
    buf_add_str(&path, "/verdict");
    int failed = api_call(c, "GET", buf_str(&path), NULL, &answer);
    if (!failed && !print_json(c, answer)) {
        const json_t *received = json_object_get(answer, "received"), *now = json_object_get(answer, "now");
        printf("message %s, %s %s from %s\n\n", member_text(answer, "id"), member_text(received, "outcome"),
               member_text(received, "time"), member_text(json_object_get(received, "client"), "ip"));
        verdict_print(json_object_get(received, "verdict"));
        if (json_is_object(now)) {
            puts("\nthe results of a new verification:\n");
            verdict_print(now);
        } else {
            printf("\nthe message cannot be verified again: %s\n", member_text(answer, "now_reason"));
        }
    }
    json_decref(answer);
    buf_free(&path);
    return failed;
}

const struct command message_commands[] = {
    {"journey", NULL, "ID", "the journey of a message, step by step", 1, 1, journey},
    {"message", "verdict", "ID", "the verification of a message's sender at its arrival and now", 1, 1, verdict},
    {0},
};

static int health(struct cli *c) {
    json_t *answer, *component;
    const char *name;
    int failed = api_call(c, "GET", "/api/v1/health", NULL, &answer);
    if (failed) return failed;
    const char *status = member_text(answer, "status");
    bool well = strcmp(status, "ok") == 0, usable = *status && *status != 'u';
    if (!print_json(c, answer)) {
        printf("%s: %s\n", member_text(answer, "hostname"), status);
        json_object_foreach(json_object_get(answer, "components"), name, component) {
            const char *reason = member_text(component, "reason"), *remedy = member_text(component, "remedy");
            printf("    %-12s %-8s%s%s\n", name, member_text(component, "state"), *reason ? " " : "", reason);
            if (*remedy) printf("    %-12s %-8s -> %s\n", "", "", remedy);
        }
    }
    json_decref(answer);
    return well ? CLI_OK : usable ? CLI_FAILED : CLI_UNAVAILABLE;
}

const struct command system_commands[] = {
    {"health", NULL, "", "the state of each part of the site", 0, 0, health},
    {0},
};
