#include "services/delivery/targets.h"

#include <sodium.h>
#include <stdio.h>

#include "libcommon/base/log.h"
#include "services/delivery/tls_fact.h"

static json_int_t preference_of(const json_t *host) { return json_integer_value(json_object_get(host, "preference")); }

/* The verifier answers the hosts sorted by preference; among equals the order is a new one each time. */
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

static void add_addresses(struct targets *out, const json_t *host, const char *name, struct tls_demand *demand) {
    size_t i;
    const json_t *address;
    json_array_foreach(json_object_get(host, "addresses"), i, address) {
        if (out->count == DELIVERY_ADDRESSES_MAX) return;
        struct target *t = &out->each[out->count++];
        *t = (struct target){.host = host, .name = name, .demand = demand};
        snprintf(t->ip, sizeof t->ip, "%s", json_string_value(address));
    }
}

void targets_take(const struct entry *e, struct arena *arena, const json_t *route, const char *domain,
                  const struct tls_wish *wish, struct targets *out) {
    const json_t *hosts = json_object_get(route, "hosts");
    size_t count = json_array_size(hosts);
    json_t **order = shuffle(arena, hosts, count);
    *out = (struct targets){0};
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_object_get(order[i], "name"));
        struct tls_demand *demand = arena_alloc(arena, sizeof *demand);
        tls_demand_make(arena, route, order[i], wish, demand);
        if (demand->refusal) {
            log_warn("a host of the domain may not be used", "id", e->id, "host", name, "reason", demand->refusal,
                     NULL);
            if (demand->refusal_result)
                tls_fact_tell_refusal(e, route, order[i], domain, demand->policy, demand->refusal_result,
                                      demand->refusal);
            out->refusal = demand->refusal;
            continue;
        }
        add_addresses(out, order[i], name, demand);
    }
}

bool targets_lead_home(const struct entry *e, const struct targets *t) {
    for (size_t i = 0; i < t->count; i++)
        if (strcasecmp(t->each[i].name, e->delivery->worker->hostname) == 0) return true;
    return false;
}
