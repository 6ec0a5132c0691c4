/* Errors as problem details (RFC 9457). */
#include <stdio.h>

#include "services/admin/admin.h"

static const struct {
    unsigned status;
    const char *kind, *title;
} problems[] = {
    {400, "bad-request", "The request is not valid"},
    {401, "unauthorized", "The admin token is missing or wrong"},
    {403, "forbidden", "Not allowed"},
    {404, "not-found", "Not found"},
    {405, "method-not-allowed", "The resource does not support this method"},
    {409, "conflict", "The request conflicts with the present state"},
    {413, "too-large", "The request is too large"},
    {415, "not-json", "The body must be application/json"},
    {422, "invalid", "A value is not valid"},
    {503, "unavailable", "Temporarily unavailable"},
    {500, "internal", "Internal error"},
};

json_t *problem_create(unsigned status, const char *detail, json_t *errors) {
    size_t i = 0, last = sizeof problems / sizeof *problems - 1;
    char type[96];
    while (i < last && problems[i].status != status) i++;
    snprintf(type, sizeof type, "tag:postbus.example,2026:problem/%s", problems[i].kind);
    json_t *problem = json_pack("{s:s,s:s,s:i,s:s}", "type", type, "title", problems[i].title, "status", (int)status,
                                "detail", detail);
    if (errors) json_object_set_new(problem, "errors", errors);
    return problem;
}

unsigned problem_status(const char *code) {
    static const struct {
        const char *code;
        unsigned status;
    } known[] = {{"not_found", 404}, {"exists", 409}, {"invalid", 422}, {"too_many", 422}, {"denied", 403}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].code, code) == 0) return known[i].status;
    return 503;
}
