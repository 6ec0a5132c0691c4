#include "services/admin/health/doors.h"

#include <stdio.h>
#include <string.h>

#include "libcommon/base/config.h"
#include "libcommon/base/slice.h"

static const char setting[] = "POSTBUS_HEALTH_DOORS",
                  expected[] = "expected name=host:port or name=host:port/tls, at most 32, comma-separated; or off",
                  usual[] = "smtp=smtpd:25,submission=smtpd:587,submissions=smtpd:465/tls,imap=imapd:143,"
                            "imaps=imapd:993/tls,pop3=pop3d:110,pop3s=pop3d:995/tls";

static bool read_door(struct slice text, const char *hostname, struct door *out) {
    struct slice name;
    uint64_t port;
    if (!slice_cut(&text, '=', &name) || !name.n || name.n >= sizeof out->name) return false;
    ptrdiff_t slash = slice_find(text, '/');
    struct slice address = slash < 0 ? text : slice_head(text, (size_t)slash),
                 how = slash < 0 ? SLICE("") : slice_skip(text, (size_t)slash + 1);
    ptrdiff_t colon = slice_find_last(address, ':');
    if (colon <= 0 || colon >= (ptrdiff_t)sizeof out->host || (slash >= 0 && !slice_is(how, "tls")) ||
        slice_to_u64(slice_skip(address, (size_t)colon + 1), 65535, &port) != 0 || port == 0)
        return false;
    snprintf(out->name, sizeof out->name, "%.*s", SLICE_FMT(name));
    snprintf(out->host, sizeof out->host, "%.*s", (int)colon, address.p);
    out->target = (struct probe_target){.kind = how.n ? PROBE_TLS : PROBE_GREETING,
                                        .host = out->host,
                                        .port = (int)port,
                                        .server_name = how.n ? hostname : NULL};
    return true;
}

/* "host", "host@port", and further ones after commas: the first is the server on which zones are
 * created. */
static void read_dns(struct door *out) {
    struct slice all = slice_of(config_text("POSTBUS_DNS_SERVER", "")), first = all, host;
    uint64_t port = 53;
    if (!slice_cut(&all, ',', &first)) first = all;
    first = slice_trim(first);
    host = first;
    if (slice_cut(&first, '@', &host) && (slice_to_u64(first, 65535, &port) != 0 || port == 0))
        config_refuse("POSTBUS_DNS_SERVER", "expected host@port, such as knot@53");
    snprintf(out->name, sizeof out->name, "dns");
    snprintf(out->host, sizeof out->host, "%.*s", SLICE_FMT(host));
    out->target = (struct probe_target){.kind = PROBE_SOA, .host = out->host, .port = (int)port};
}

void doors_read(struct doors *out, const char *hostname) {
    struct slice rest = slice_of(config_text(setting, usual)), one;
    *out = (struct doors){0};
    read_dns(&out->dns);
    if (slice_is(rest, "off")) return;
    for (bool more = true; more;) {
        more = slice_cut(&rest, ',', &one);
        if (!more) one = rest;
        if (out->count == DOORS_MAX || !read_door(slice_trim(one), hostname, &out->list[out->count]))
            config_refuse(setting, expected);
        out->count++;
    }
}
