/* The servers to which zones are published, and their keys. */
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "services/verifier/zone/publish.h"

/* The next line or comma-separated part, cut in place and trimmed; NULL at the end. */
static char *cut(char **rest, const char *delimiters) {
    for (char *part; (part = strsep(rest, delimiters));) {
        part += strspn(part, " \t\r");
        part[strcspn(part, " \t\r")] = '\0';
        if (*part) return part;
    }
    return NULL;
}

/* "algorithm:name:base64", cut in place. */
static bool read_key(char *line, struct dns_server_settings *out) {
    char *name = strchr(line, ':'), *key = name ? strchr(name + 1, ':') : NULL;
    if (!key || name == line || key == name + 1 || !key[1]) return false;
    *name = *key = '\0';
    out->algorithm = line;
    out->key_name = name + 1;
    out->key_b64 = key + 1;
    return strcasecmp(line, "hmac-sha256") == 0 || strcasecmp(line, "hmac-sha512") == 0;
}

bool publish_servers_read(struct publish_servers *out) {
    const char *addresses = config_text("POSTBUS_DNS_SERVER", ""), *catalog = getenv("POSTBUS_DNS_CATALOG");
    *out = (struct publish_servers){0};
    if (!*addresses) return false;
    out->addresses = memory_copy(slice_of(addresses));
    out->secret = config_secret("tsig.key", true);
    char *left = out->addresses, *keys = out->secret, *address, *line;
    while ((address = cut(&left, ","))) {
        if (out->count == UPDATE_SERVERS_MAX) config_refuse("POSTBUS_DNS_SERVER", "names more servers than 4");
        struct update_server *s = &out->servers[out->count];
        if ((line = cut(&keys, "\n"))) {
            if (!read_key(line, &s->dns))
                config_refuse("secret tsig.key", "must be algorithm:name:base64 a line, as in "
                                                 "hmac-sha256:postbus:MTIz…; hmac-sha256 or hmac-sha512");
        } else if (out->count == 0) {
            config_refuse("secret tsig.key", "is empty");
        } else {
            s->dns = s[-1].dns;
        }
        s->dns.address = address;
        s->catalog = catalog ? catalog : "catalog.postbus"; /* set and empty: zones are not created
                                                               by us */
        out->count++;
    }
    return out->count > 0;
}

void publish_servers_free(struct publish_servers *s) {
    free(s->addresses);
    free(s->secret);
    *s = (struct publish_servers){0};
}
