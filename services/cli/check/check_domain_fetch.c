#include <curl/curl.h>
#include <stdlib.h>

#include "libcommon/trust/transport/mta_sts.h"
#include "services/cli/check/check_domain.h"

enum { FETCH_SECONDS = 10 };

static size_t on_bytes(char *bytes, size_t size, size_t count, void *ctx) {
    struct buf *out = ctx;
    if (out->n + size * count > MTA_STS_POLICY_BYTES_MAX) return 0;
    buf_add(out, bytes, size * count);
    return size * count;
}

long check_domain_fetch(const char *host, const char *addresses, struct buf *out, char reason[256]) {
    struct buf url = {0}, resolve = {0};
    const char *ca = getenv("POSTBUS_TLS_CA");
    long status = 0;
    char error[CURL_ERROR_SIZE] = "";
    buf_printf(&url, "https://%s/.well-known/mta-sts.txt", host);
    buf_printf(&resolve, "%s:443:%s", host, addresses); /* no other DNS is used */
    struct curl_slist *list = curl_slist_append(NULL, buf_str(&resolve));
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, buf_str(&url));
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_RESOLVE, list);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)FETCH_SECONDS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    if (ca && *ca) curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
    CURLcode result = curl_easy_perform(curl);
    if (result == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    else
        snprintf(reason, 256, "%s", *error ? error : curl_easy_strerror(result));
    curl_slist_free_all(list);
    curl_easy_cleanup(curl);
    buf_free(&url);
    buf_free(&resolve);
    return status;
}
