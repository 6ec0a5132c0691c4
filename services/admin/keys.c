/* /api/v1/domains/{domain}/keys: the DKIM keys of a domain and their roll-over. Private keys are
 * never read here: admin has no right on the bus to request them. */
#include "services/admin/admin.h"

static void on_keys(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_answer(r, 200, json_deep_copy(reply));
}

void key_list(struct request *r) {
    request_ask(r, "accounts.key.list", json_pack("{s:s}", "domain", r->part), ASK_MS, on_keys);
}

/* The answer has the present keys: the new ones, or those that were pending already. */
static void on_rotated(struct request *r, int error, const json_t *reply) {
    if (error)
        request_problem_bus(r, reply);
    else
        request_ask(r, "accounts.key.list", json_pack("{s:s}", "domain", r->part), ASK_MS, on_keys);
}

/* ?now: the present keys are compromised. */
void key_rotate(struct request *r) {
    const char *now = request_query(r, "now");
    bool given = MHD_lookup_connection_value_n(r->connection, MHD_GET_ARGUMENT_KIND, "now", 3, NULL, NULL) == MHD_YES;
    bool urgent = given && (!now || !*now || strcmp(now, "true") == 0 || strcmp(now, "1") == 0);
    request_ask(r, "accounts.key.rotate", json_pack("{s:s,s:b}", "domain", r->part, "now", (int)urgent), LONG_ASK_MS,
                on_rotated);
}
