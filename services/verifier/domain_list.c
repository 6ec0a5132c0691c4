#include "services/verifier/domain_list.h"

enum { PAGE = 1000, ASK_MS = 10000 };

static void ask_page(struct domain_list *l, const char *after);

static void on_page(void *ctx, int error, const json_t *reply) {
    struct domain_list *l = ctx;
    const json_t *page = json_object_get(reply, "domains"), *one;
    const char *next = json_string_value(json_object_get(reply, "next"));
    size_t i;
    l->ticket = 0;
    if (error || !json_is_array(page)) {
        l->done(l->ctx, false);
        return;
    }
    json_array_foreach((json_t *)(uintptr_t)page, i, one) if (json_is_string(one))
        l->each(l->ctx, json_string_value(one));
    l->count += json_array_size(page);
    if (next && json_array_size(page) && l->count < DOMAIN_LIST_MAX)
        ask_page(l, next);
    else
        l->done(l->ctx, true);
}

static void ask_page(struct domain_list *l, const char *after) {
    json_t *ask = json_pack("{s:i}", "limit", PAGE);
    if (after) json_object_set_new(ask, "after", json_string(after));
    l->ticket = bus_request(l->bus, "accounts.domain.list", ask, ASK_MS, on_page, l);
}

void domain_list_read(struct domain_list *l, struct bus *bus, void (*each)(void *ctx, const char *domain),
                      void (*done)(void *ctx, bool whole), void *ctx) {
    if (l->ticket) return;
    *l = (struct domain_list){.bus = bus, .each = each, .done = done, .ctx = ctx};
    ask_page(l, NULL);
}

bool domain_list_is_read(const struct domain_list *l) { return l->ticket != 0; }

void domain_list_stop(struct domain_list *l) {
    if (l->ticket) bus_cancel(l->bus, l->ticket);
    l->ticket = 0;
}
