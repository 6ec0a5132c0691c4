/* A report by HTTPS (RFC 8460 §5.4). libcurl blocks, so it runs on a pool thread, rarely and for a
 * bounded time. The URI comes from another domain, so the certificate is checked, redirections are
 * not followed, and connections are made only to public addresses. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/net/address.h"
#include "services/reporter/reporter.h"

struct post {
    struct reporter *reporter;
    char *url, *type, *body;
    size_t n;
    int status;
    bool private_address;
    char error[CURL_ERROR_SIZE];
    https_fn *done;
    void *ctx;
};

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address) {
    struct post *p = ctx;
    (void)purpose;
    if (!p->reporter->settings.private_destinations && !net_address_is_public(&address->addr)) {
        p->private_address = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t drop_answer(char *bytes, size_t size, size_t count, void *ctx) {
    (void)bytes, (void)ctx;
    return size * count;
}

static void post(void *job) { /* on a pool thread */
    struct post *p = job;
    CURL *easy = curl_easy_init();
    char header[128];
    snprintf(header, sizeof header, "Content-Type: %s", p->type);
    struct curl_slist *headers = curl_slist_append(NULL, header);
    long status = 0;
    if (!easy || !headers) memory_exhausted();
    curl_easy_setopt(easy, CURLOPT_URL, p->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    if (*p->reporter->settings.ca_file) curl_easy_setopt(easy, CURLOPT_CAINFO, p->reporter->settings.ca_file);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, (long)HTTPS_TIMEOUT_SECONDS);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, p);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop_answer);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, p->body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)p->n);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, p->error);
    CURLcode code = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    p->status = code == CURLE_OK || status >= 200
                    ? (int)status
                    : 0; /* only the status matters; the body of the answer may be incomplete */
    if (code != CURLE_OK && p->private_address)
        snprintf(p->error, sizeof p->error, "its address is not public");
    else if (code != CURLE_OK && !p->error[0])
        snprintf(p->error, sizeof p->error, "%s", curl_easy_strerror(code));
    curl_slist_free_all(headers);
    curl_easy_cleanup(easy);
}

static void posted(void *job) {
    struct post *p = job;
    p->done(p->ctx, p->status, p->error);
    free(p->url);
    free(p->type);
    free(p->body);
    free(p);
}

void https_post(struct reporter *r, const char *url, const char *type, struct slice body, https_fn *done, void *ctx) {
    struct post *p = memory_alloc(sizeof *p);
    p->reporter = r;
    p->url = memory_copy(slice_of(url));
    p->type = memory_copy(slice_of(type));
    p->body = memory_copy(body);
    p->n = body.n;
    p->done = done;
    p->ctx = ctx;
    service_offload(r->worker, post, posted, p);
}
