#include "services/delivery/destination/targets.h"

#include <sodium.h>
#include <stdio.h>

#include "libcommon/base/arena.h"
#include "libcommon/net/address.h"

static json_int_t preference_of(const json_t *host) { return json_integer_value(json_object_get(host, "preference")); }

/* The verifier answers the hosts sorted by preference; among equals the order is a new one each
 * time. */
static json_t **shuffle(struct arena *arena, const json_t *hosts, size_t count) {
    json_t **order = arena_alloc(arena, (count + 1) * sizeof *order);
    for (size_t i = 0; i < count; i++) order[i] = json_array_get(hosts, i);
    for (size_t i = 0; i < count; i++) {
        size_t same = i;
        while (same + 1 < count && preference_of(order[same + 1]) == preference_of(order[i])) same++;
        size_t pick = i + randombytes_uniform((uint32_t)(same - i + 1));
        json_t *swap = order[i];
        order[i] = order[pick];
        order[pick] = swap;
    }
    return order;
}

static bool read_address(const struct delivery *d, const char *ip, struct target *t) {
    char where[128];
    int n = sizeof t->address;
    snprintf(t->ip, sizeof t->ip, "%s", ip);
    snprintf(where, sizeof where, strchr(ip, ':') ? "[%s]:%d" : "%s:%d", ip, d->smtp_port);
    if (evutil_parse_sockaddr_port(where, (struct sockaddr *)&t->address, &n) != 0) return false;
    t->address_n = (socklen_t)n;
    return true;
}

static void add_addresses(const struct delivery *d, struct targets *out, const json_t *host, const char *name,
                          struct tls_demand *demand) {
    const json_t *list = json_object_get(host, "addresses");
    size_t count = json_array_size(list), taken = 0, at[2] = {0, 0};
    bool may_be_private = d->private_destinations || json_is_true(json_object_get(host, "own_zone"));
    for (int family = 0; taken < DESTINATION_HOST_ADDRESSES && (at[0] < count || at[1] < count); family = !family) {
        for (; at[family] < count; at[family]++) {
            const char *ip = json_string_value(json_array_get(list, at[family]));
            if (!ip || (strchr(ip, ':') == NULL) != (family == 1)) continue;
            struct target t = {.host = host, .name = name, .demand = demand};
            if (!read_address(d, ip, &t)) continue;
            if (!may_be_private && !net_address_is_public((struct sockaddr *)&t.address)) {
                out->private_only = true;
                continue;
            }
            if (out->count == DESTINATION_ADDRESSES_MAX) return;
            out->each[out->count++] = t;
            taken++;
            at[family]++;
            break;
        }
    }
}

/* The preference of this server in the list; INT64_MAX: it is not in the list. */
static json_int_t own_preference(const struct delivery *d, json_t *const order[], size_t count) {
    json_int_t own = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_object_get(order[i], "name"));
        if (name && strcasecmp(name, d->worker->hostname) == 0 && preference_of(order[i]) < own)
            own = preference_of(order[i]);
    }
    return own;
}

void targets_take(const struct delivery *d, struct arena *arena, const json_t *route, const struct tls_wish *wish,
                  struct targets *out) {
    const json_t *hosts = json_object_get(route, "hosts");
    size_t count = json_array_size(hosts);
    json_t **order = shuffle(arena, hosts, count);
    json_int_t own = own_preference(d, order, count);
    *out = (struct targets){0};
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_object_get(order[i], "name"));
        if (!name || preference_of(order[i]) >= own) continue;
        struct tls_demand *demand = arena_alloc(arena, sizeof *demand);
        tls_demand_make(arena, route, order[i], wish, demand);
        if (!demand->refusal)
            add_addresses(d, out, order[i], name, demand);
        else if (out->refused_count < DESTINATION_ADDRESSES_MAX)
            out->refused[out->refused_count++] = (struct target_refusal){order[i], demand};
    }
    out->leads_home = own != INT64_MAX && !out->count && !out->refused_count;
    out->private_only = out->private_only && !out->count && !out->refused_count;
}
