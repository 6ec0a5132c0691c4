/* The admin API over HTTP. */
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/member.h"
#include "services/cli/cli.h"

enum { ANSWER_MAX = 64 * 1024 * 1024, TOKEN_MAX = 4096, CONNECT_SECONDS = 10, CALL_SECONDS = 120 };

static const char default_url[] = "http://127.0.0.1:8080", default_token_file[] = "/run/secrets/postbus/admin.token";

static size_t on_bytes(char *bytes, size_t size, size_t count, void *ctx) {
    struct buf *out = ctx;
    if (out->n + size * count > ANSWER_MAX) return 0;
    buf_add(out, bytes, size * count);
    return size * count;
}

/* The Authorization field; NULL after printing the reason why there is none. */
static char *authorization(const struct cli *c) {
    const char *path = c->token_file ? c->token_file : getenv("POSTBUS_TOKEN_FILE");
    if (!path || !*path) path = default_token_file;
    FILE *f = fopen(path, "re");
    if (!f) {
        fprintf(stderr,
                "postbus: cannot read the admin token from %s: %s\n         set its file with --token-file or "
                "POSTBUS_TOKEN_FILE\n",
                path, strerror(errno));
        return NULL;
    }
    static const char start[] = "Authorization: Bearer ";
    char *header = memory_alloc(sizeof start + TOKEN_MAX);
    memcpy(header, start, sizeof start - 1);
    size_t n = sizeof start - 1 + fread(header + sizeof start - 1, 1, TOKEN_MAX, f);
    fclose(f);
    while (n && strchr(" \t\r\n", header[n - 1])) n--;
    header[n] = 0;
    return header;
}

static void tell_problem(long status, const json_t *problem) {
    size_t i;
    json_t *error;
    const char *detail = member_text(problem, "detail");
    fprintf(stderr, "postbus: %s (%ld)\n", *detail ? detail : "the server refused", status);
    json_array_foreach(json_object_get(problem, "errors"), i, error)
        fprintf(stderr, "         %s: %s\n", member_text(error, "pointer"), member_text(error, "detail"));
}

/* The body of a request; type NULL: none. */
struct body {
    const char *type;
    struct slice bytes;
};

/* Sets *status to the HTTP status; returns 0 or the exit status. */
static int call(struct cli *c, const char *method, const char *path, const char *accept, struct body body,
                struct buf *out, long *status) {
    const char *url = c->url ? c->url : getenv("POSTBUS_API");
    char *header = authorization(c), error[CURL_ERROR_SIZE] = "";
    if (!header) return CLI_USAGE;
    if (!url || !*url) url = default_url;
    struct buf whole = {0}, accepts = {0};
    size_t n = strlen(url);
    while (n && url[n - 1] == '/') n--;
    buf_add(&whole, url, n);
    buf_add_str(&whole, path);
    buf_printf(&accepts, "Accept: %s", accept);
    if (!c->curl) c->curl = curl_easy_init();
    CURL *curl = c->curl;
    curl_easy_reset(curl); /* the connection stays */
    struct curl_slist *headers = curl_slist_append(NULL, header);
    headers = curl_slist_append(headers, buf_str(&accepts));
    if (body.type) headers = curl_slist_append(headers, body.type);
    curl_easy_setopt(curl, CURLOPT_URL, buf_str(&whole));
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (body.type) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.bytes.n);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.bytes.p);
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)CALL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "127.0.0.1,localhost,::1");
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    if (result != CURLE_OK)
        fprintf(
            stderr,
            "postbus: no answer from %.*s: %s\n         set the address of the admin API with --url or POSTBUS_API\n",
            (int)n, url, *error ? error : curl_easy_strerror(result));
    curl_slist_free_all(headers);
    explicit_bzero(header, strlen(header));
    free(header);
    buf_free(&whole);
    buf_free(&accepts);
    return result == CURLE_OK ? CLI_OK : CLI_UNAVAILABLE;
}

void api_close(struct cli *c) {
    if (c->curl) curl_easy_cleanup(c->curl);
    c->curl = NULL;
}

static int call_json(struct cli *c, const char *method, const char *path, struct body body, long *status,
                     json_t **answer) {
    struct buf out = {0};
    *answer = NULL;
    *status = 0;
    int failed = call(c, method, path, "application/json", body, &out, status);
    if (!failed) {
        *answer = json_loadb(buf_str(&out), out.n, 0, NULL);
        bool health = strcmp(path, "/api/v1/health") == 0 && *status == 503 && json_object_get(*answer, "components");
        if (*status >= 300 && !health) {
            tell_problem(*status, *answer);
            json_decref(*answer);
            *answer = NULL;
            failed = *status == 503 ? CLI_UNAVAILABLE : CLI_FAILED;
        }
    }
    buf_free(&out);
    return failed;
}

int api_call(struct cli *c, const char *method, const char *path, json_t *body, json_t **answer) {
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    long status;
    json_decref(body);
    int failed =
        call_json(c, method, path, (struct body){text ? "Content-Type: application/json" : NULL, slice_of(text)},
                  &status, answer);
    if (text) explicit_bzero(text, strlen(text));
    free(text);
    return failed;
}

int api_make(struct cli *c, const char *method, const char *path, json_t *body, bool *existed, json_t **answer) {
    char *text = json_dumps(body, JSON_COMPACT);
    struct buf out = {0};
    long status = 0;
    json_decref(body);
    int failed = call(c, method, path, "application/json",
                      (struct body){"Content-Type: application/json", slice_of(text)}, &out, &status);
    *answer = failed ? NULL : json_loadb(buf_str(&out), out.n, 0, NULL);
    *existed = !failed && status == 409;
    if (!failed && status >= 300 && !*existed) {
        tell_problem(status, *answer);
        failed = status == 503 ? CLI_UNAVAILABLE : CLI_FAILED;
    }
    if (text) explicit_bzero(text, strlen(text));
    free(text);
    buf_free(&out);
    return failed;
}

int api_post_message(struct cli *c, const char *path, struct slice message, long *status, json_t **answer) {
    return call_json(c, "POST", path, (struct body){"Content-Type: message/rfc822", message}, status, answer);
}

int api_call_text(struct cli *c, const char *path, const char *accept, struct buf *out) {
    long status = 0;
    int failed = call(c, "GET", path, accept, (struct body){0}, out, &status);
    if (failed || status < 300) return failed;
    json_t *problem = json_loadb(buf_str(out), out->n, 0, NULL);
    tell_problem(status, problem);
    json_decref(problem);
    return status == 503 ? CLI_UNAVAILABLE : CLI_FAILED;
}

void api_add(struct buf *path, const char *text) {
    for (; *text; text++) {
        if ((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || (*text >= '0' && *text <= '9') ||
            strchr("-._~@", *text))
            buf_add_char(path, *text);
        else
            buf_printf(path, "%%%02X", (unsigned char)*text);
    }
}

void api_add_page(const struct cli *c, struct buf *path, bool more) {
    if (c->limit) {
        buf_add_str(path, more ? "&limit=" : "?limit=");
        api_add(path, c->limit);
        more = true;
    }
    if (c->after) {
        buf_add_str(path, more ? "&after=" : "?after=");
        api_add(path, c->after);
    }
}

bool print_json(const struct cli *c, const json_t *answer) {
    if (!c->json) return false;
    if (answer) {
        json_dumpf(answer, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    return true;
}

void print_next(const json_t *answer) {
    const char *next = member_text(answer, "next");
    if (*next) fprintf(stderr, "there are more: --after %s\n", next);
}
