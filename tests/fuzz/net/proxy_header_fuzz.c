/* What a proxy, or anybody in its place, sends first. */
#include <stdlib.h>

#include "libcommon/net/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct proxy_header header, again;
    struct proxy_networks networks;
    int n = proxy_header_parse(slice_make(data, size), &header);
    if (n > 0 && ((size_t)n > size || proxy_header_parse(slice_make(data, (size_t)n), &again) != n)) abort();
    if (n > 0 && header.has_client && proxy_networks_parse(SLICE("10.0.0.0/8, fd00::/8"), &networks))
        proxy_networks_have(&networks, (const struct sockaddr *)&header.client);
    proxy_networks_parse(slice_make(data, size), &networks);
    return 0;
}
