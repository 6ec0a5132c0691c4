#include "services/verifier/dns/unbound.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unbound-event.h>
#include <unistd.h>

#include "libcommon/base/buf.h"
#include "libcommon/base/log.h"

/* The root's keys of 2017 and 2024 (IANA's root-anchors.xml), for machines without a file of trust
 * anchors. */
static const char *const ROOT_ANCHORS[] = {
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};
static const char ROOT_ANCHOR_FILE[] = "/usr/share/dns/root.key";

static const struct option {
    const char *name, *value;
} OPTIONS[] = {
    {"module-config:", "validator iterator"},
    {"qname-minimisation:", "yes"}, /* RFC 9156: a server gets only the part of a name that it
                                       needs */
    {"use-caps-for-id:", "yes"},    /* 0x20: an attacker must also guess the case of the question */
    {"unwanted-reply-threshold:", "1000000"},
    {"do-ip4:", "yes"},
    {"do-ip6:", "yes"},
    {"do-udp:", "yes"},
    {"do-tcp:", "yes"}, /* truncated answers are fetched again over TCP (RFC 7766) */
    {"edns-buffer-size:", "1232"},
    {"harden-glue:", "yes"},
    {"harden-dnssec-stripped:", "yes"},
    {"harden-below-nxdomain:", "yes"}, /* RFC 8020 */
    {"harden-large-queries:", "yes"},
    {"harden-algo-downgrade:", "no"}, /* RFC 6840 §5.11: one good signature of a known algorithm is
                                         enough */
    {"val-permissive-mode:", "no"},
    {"val-clean-additional:", "yes"},
    {"aggressive-nsec:", "yes"}, /* RFC 8198: one proof of nonexistence answers for a range of
                                    names */
    {"serve-expired:", "no"},    /* expired records must not be used for verification */
    {"prefetch:", "no"},
    {"unblock-lan-zones:", "yes"}, /* private reverse zones are resolved as set */
    {"num-queries-per-thread:", "2048"},
    {"outgoing-range:", "512"},
    {"outgoing-num-tcp:", "64"},
    {"msg-cache-size:", "8m"},
    {"rrset-cache-size:", "16m"},
    {"key-cache-size:", "4m"},
    {"neg-cache-size:", "1m"},
    {"infra-cache-numhosts:", "4000"},
    {"cache-max-ttl:", "86400"},
    {"cache-max-negative-ttl:", "300"},
    {"infra-host-ttl:", "60"}, /* a server that was not reachable is tried again soon */
    {"infra-keep-probing:", "yes"},
    {"val-bogus-ttl:", "10"},
};

/* "192.0.2.1@5353" for an address or name with an optional port, in the form of libunbound. 0 or
 * -1. */
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
            log_error("a forwarder of POSTBUS_RESOLVER_FORWARD is not an address or a name that can be found", "found",
                      text, NULL);
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
            log_error("a part of POSTBUS_RESOLVER_STUBS is not zone=address[@port] with an address or a name that can "
                      "be found",
                      "found", text, NULL);
            free(text);
            return -1;
        }
    }
    return 0;
}

/* libunbound answers some special names itself (RFC 6761: test., invalid., private reverse zones).
 * It must not answer for zones that the settings send to other servers, but still for the names
 * above them (a DMARC tree walk asks for these). This completes the context's settings. */
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

static int add_anchor_file(struct ub_ctx *ub, struct slice name) {
    char *file = memory_copy(name);
    int error = access(file, R_OK) == 0 && ub_ctx_add_ta_file(ub, file) == 0 ? 0 : -1;
    if (error) log_error("a file of POSTBUS_TRUST_ANCHOR cannot be read", "file", file, NULL);
    free(file);
    return error;
}

/* Several files, for a private root beside the public one or for islands of trust (RFC 4033 §2);
 * they replace the public root's anchors. */
static int set_trust(struct ub_ctx *ub, struct slice files) {
    struct slice one;
    if (!files.n && access(ROOT_ANCHOR_FILE, R_OK) == 0) return ub_ctx_add_ta_file(ub, ROOT_ANCHOR_FILE);
    for (size_t i = 0; !files.n && i < sizeof ROOT_ANCHORS / sizeof *ROOT_ANCHORS; i++)
        if (ub_ctx_add_ta(ub, ROOT_ANCHORS[i])) return -1;
    while (files.n) {
        if (!slice_cut(&files, ',', &one)) one = files, files.n = 0;
        one = slice_trim(one);
        if (one.n && add_anchor_file(ub, one)) return -1;
    }
    return 0;
}

static int set_option(struct ub_ctx *ub, const char *name, const char *value) {
    if (ub_ctx_set_option(ub, name, value) == 0) return 0;
    log_error("libunbound refuses an option", "option", name, "value", value, NULL);
    return -1;
}

static int configure(struct ub_ctx *ub, const struct resolver_settings *settings) {
    bool servers = *settings->forward || *settings->stubs;
    for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++)
        if (set_option(ub, OPTIONS[i].name, OPTIONS[i].value)) return -1;
    /* A forwarder or stub server may be on this machine; other domains' name servers never are. */
    if (set_option(ub, "do-not-query-localhost:", servers ? "no" : "yes")) return -1;
    return set_forwarders(ub, slice_of(settings->forward)) || set_stubs(ub, slice_of(settings->stubs)) ||
                   set_trust(ub, slice_of(settings->trust_anchor))
               ? -1
               : 0;
}

struct ub_ctx *unbound_create(struct event_base *base, const struct resolver_settings *settings) {
    struct ub_ctx *ub = ub_ctx_create_event(base);
    if (!ub) memory_exhausted();
    if (configure(ub, settings)) {
        ub_ctx_delete(ub);
        return NULL;
    }
    if (*settings->forward)
        ub_ctx_zone_remove(ub, "test."); /* the forwarder knows which names
                                            exist */
    open_special_zones(ub, slice_of(settings->stubs));
    return ub;
}
