#include "services/verifier/unbound.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unbound-event.h>
#include <unistd.h>

#include "libcommon/base/buf.h"
#include "libcommon/base/log.h"

/* The root's keys since 2017 and 2024 (IANA's root-anchors.xml), for machines without a file of them. */
static const char *const ROOT_ANCHORS[] = {
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};
static const char ROOT_ANCHOR_FILE[] = "/usr/share/dns/root.key";

static const struct {
    const char *name, *value;
} OPTIONS[] = {
    {"module-config:", "validator iterator"},
    {"qname-minimisation:", "yes"},
    {"use-caps-for-id:", "yes"},
    {"edns-buffer-size:", "1232"},
    {"harden-dnssec-stripped:", "yes"},
    {"harden-below-nxdomain:", "yes"},
    {"do-not-query-localhost:", "no"}, /* a stub or forwarder may live there */
    {"unblock-lan-zones:", "yes"},     /* private reverse zones are asked where the settings say */
    {"num-queries-per-thread:", "2048"},
    {"outgoing-range:", "512"},
    {"msg-cache-size:", "8m"},
    {"rrset-cache-size:", "16m"},
    {"key-cache-size:", "4m"},
    {"neg-cache-size:", "1m"},
    {"cache-max-negative-ttl:", "300"},
    {"infra-host-ttl:", "60"}, /* a server that was away is tried again soon */
    {"infra-keep-probing:", "yes"},
    {"val-bogus-ttl:", "10"},
};

/* "192.0.2.1@5353" for an address or name with an optional port, as libunbound wants it. 0 or -1. */
static int find_server(struct slice text, char out[96]) {
    struct slice host = text, before;
    char name[256];
    uint64_t port = 53;
    if (slice_cut(&text, '@', &before)) {
        host = before;
        if (slice_to_u64(text, 65535, &port) || port == 0) return -1;
    }
    if (host.n == 0 || host.n >= sizeof name) return -1;
    memcpy(name, host.p, host.n);
    name[host.n] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
    char address[64];
    if (getaddrinfo(name, NULL, &hints, &found) != 0) return -1;
    int error = getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST);
    freeaddrinfo(found);
    if (error) return -1;
    snprintf(out, 96, "%s@%u", address, (unsigned)port);
    return 0;
}

static int set_forwarders(struct ub_ctx *ub, struct slice list) {
    struct slice one;
    char server[96];
    while (list.n) {
        if (!slice_cut(&list, ',', &one)) one = list, list.n = 0;
        one = slice_trim(one);
        if (one.n == 0) continue;
        if (find_server(one, server) || ub_ctx_set_fwd(ub, server)) {
            char *text = memory_copy(one);
            log_error("a forwarder of POSTBUS_RESOLVER_FORWARD is not an address or a name that can be found", "found", text, NULL);
            free(text);
            return -1;
        }
    }
    return 0;
}

static int set_stubs(struct ub_ctx *ub, struct slice list) {
    struct slice one, name;
    char server[96], zone[256] = "";
    while (list.n) {
        if (!slice_cut(&list, ',', &one)) one = list, list.n = 0;
        one = slice_trim(one);
        if (one.n == 0) continue;
        struct slice whole = one;
        int error = 0;
        if (slice_cut(&one, '=', &name)) {
            name = slice_trim(name);
            if (name.n == 0 || name.n >= sizeof zone) {
                error = -1;
            } else {
                memcpy(zone, name.p, name.n);
                zone[name.n] = '\0';
            }
        }
        if (error || !zone[0] || find_server(slice_trim(one), server) || ub_ctx_set_stub(ub, zone, server, 0)) {
            char *text = memory_copy(whole);
            log_error("a part of POSTBUS_RESOLVER_STUBS is not zone=address[@port] with an address or a name that can be found", "found", text, NULL);
            free(text);
            return -1;
        }
    }
    return 0;
}

/* libunbound answers some special names itself (RFC 6761: test., invalid., private reverse zones). What the settings send elsewhere it must not, while it still
 * answers for the names above (a DMARC tree walk asks for them). This finishes the context's settings. */
static void open_special_zones(struct ub_ctx *ub, struct slice list) {
    struct slice one, zone;
    char name[256];
    while (list.n) {
        if (!slice_cut(&list, ',', &one)) one = list, list.n = 0;
        if (!slice_cut(&one, '=', &zone)) continue;
        zone = slice_trim(zone);
        if (!zone.n || zone.n >= sizeof name) continue;
        memcpy(name, zone.p, zone.n);
        name[zone.n] = '\0';
        ub_ctx_zone_remove(ub, name);
        ub_ctx_zone_add(ub, name, "transparent");
    }
}

static int set_trust(struct ub_ctx *ub, const char *file) {
    if (*file) {
        if (access(file, R_OK) == 0 && ub_ctx_add_ta_file(ub, file) == 0) return 0;
        log_error("the file of POSTBUS_TRUST_ANCHOR cannot be read", "file", file, NULL);
        return -1;
    }
    if (access(ROOT_ANCHOR_FILE, R_OK) == 0) return ub_ctx_add_ta_file(ub, ROOT_ANCHOR_FILE);
    for (size_t i = 0; i < sizeof ROOT_ANCHORS / sizeof *ROOT_ANCHORS; i++) {
        if (ub_ctx_add_ta(ub, ROOT_ANCHORS[i])) return -1;
    }
    return 0;
}

struct ub_ctx *unbound_create(struct event_base *base, const struct resolver_settings *settings) {
    struct ub_ctx *ub = ub_ctx_create_event(base);
    if (!ub) memory_exhausted();
    for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++) {
        if (ub_ctx_set_option(ub, OPTIONS[i].name, OPTIONS[i].value) == 0) continue;
        log_error("libunbound refuses an option", "option", OPTIONS[i].name, NULL);
        ub_ctx_delete(ub);
        return NULL;
    }
    if (set_forwarders(ub, slice_of(settings->forward)) || set_stubs(ub, slice_of(settings->stubs)) || set_trust(ub, settings->trust_anchor)) {
        ub_ctx_delete(ub);
        return NULL;
    }
    open_special_zones(ub, slice_of(settings->stubs));
    return ub;
}
