/* A recipient with a mailbox here: asked of the mailbox service, which does it once however often it is asked. Mail to
 * the site's report addresses is handed to the reporter instead, on the same terms: it has the user "reporter"
 * (accounts.resolve). */
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "services/delivery/delivery.h"

enum { SOON_MS = 5000, SOON_LAST_MS = 300000 };

struct local {
    struct entry *entry;
    size_t index;
};

static void on_delivered(void *ctx, int error, const json_t *reply) {
    struct local *l = ctx;
    struct entry *e = l->entry;
    size_t index = l->index;
    free(l);
    const char *code = bus_error_code(reply);
    const char *user = json_string_value(json_object_get(entry_rcpt(e, index), "user"));
    bool report = user && strcmp(user, "reporter") == 0;
    json_int_t attempts = json_integer_value(json_object_get(entry_rcpt(e, index), "attempts"));
    int64_t received = json_integer_value(json_object_get(e->envelope, "received")), soon = SOON_MS * (attempts + 1);
    struct outcome o = {
        .kind = OUTCOME_DELIVERED, .code = 250, .enhanced = "2.1.5", .reason = "delivered to the mailbox", .host = ""};
    if (report) o.reason = "taken as a report";
    if (error == BUS_UNAVAILABLE) {
        o = (struct outcome){.kind = OUTCOME_DEFERRED,
                             .code = 451,
                             .enhanced = "4.3.0",
                             .reason =
                                 report ? "the reporter cannot be reached" : "the mailbox service cannot be reached",
                             .host = "",
                             .retry_ms = soon < SOON_LAST_MS ? soon : SOON_LAST_MS};
    } else if (error == BUS_REFUSED && strcmp(code, "over_quota") == 0) {
        bool patient = clock_wall_ms() - received < (int64_t)QUOTA_PATIENCE_SECONDS * 1000;
        o = (struct outcome){.kind = patient ? OUTCOME_DEFERRED : OUTCOME_BOUNCED,
                             .code = patient ? 452 : 552,
                             .enhanced = patient ? "4.2.2" : "5.2.2",
                             .reason = "the mailbox is full",
                             .host = ""};
    } else if (error == BUS_REFUSED && strcmp(code, "not_found") == 0) {
        o = (struct outcome){.kind = OUTCOME_BOUNCED,
                             .code = 550,
                             .enhanced = "5.1.1",
                             .reason = "there is no such mailbox any more",
                             .host = ""};
    } else if (error == BUS_REFUSED) {
        o = (struct outcome){.kind = OUTCOME_DEFERRED,
                             .code = 451,
                             .enhanced = "4.3.0",
                             .reason = "the mailbox service refuses the delivery",
                             .host = ""};
    }
    entry_settle(e, 1, &index, &o);
}

void local_deliver(struct entry *e, size_t index) {
    const json_t *rcpt = entry_rcpt(e, index);
    struct local *l = memory_alloc(sizeof *l);
    *l = (struct local){e, index};
    const char *user = json_string_value(json_object_get(rcpt, "user"));
    json_t *ask = json_pack("{s:s,s:O,s:O}", "id", e->id, "rcpt", json_object_get(rcpt, "address"), "from",
                            json_object_get(e->envelope, "from"));
    if (strcmp(user, "reporter") == 0) {
        bus_request(e->delivery->worker->bus, "reporter.take", ask, DELIVERY_LOCAL_MS, on_delivered, l);
    } else {
        json_object_set_new(ask, "user", json_string(user));
        bus_request(e->delivery->worker->bus, "mailbox.deliver", ask, DELIVERY_LOCAL_MS, on_delivered, l);
    }
}
