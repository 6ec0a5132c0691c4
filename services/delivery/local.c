/* A recipient with a mailbox here: asked of the mailbox service, which does it once however often it is asked. */
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
    json_int_t attempts = json_integer_value(json_object_get(entry_rcpt(e, index), "attempts"));
    int64_t received = json_integer_value(json_object_get(e->envelope, "received")), soon = SOON_MS * (attempts + 1);
    struct outcome o = {.kind = OUTCOME_DELIVERED, .code = 250, .enhanced = "2.1.5", .reason = "delivered to the mailbox", .host = ""};
    if (error == BUS_UNAVAILABLE) {
        o = (struct outcome){.kind = OUTCOME_DEFERRED,
                             .code = 451,
                             .enhanced = "4.3.0",
                             .reason = "the mailbox service cannot be reached",
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
        o = (struct outcome){.kind = OUTCOME_BOUNCED, .code = 550, .enhanced = "5.1.1", .reason = "there is no such mailbox any more", .host = ""};
    } else if (error == BUS_REFUSED) {
        o = (struct outcome){.kind = OUTCOME_DEFERRED, .code = 451, .enhanced = "4.3.0", .reason = "the mailbox service refuses the delivery", .host = ""};
    }
    entry_settle(e, 1, &index, &o);
}

void local_deliver(struct entry *e, size_t index) {
    const json_t *rcpt = entry_rcpt(e, index);
    struct local *l = memory_alloc(sizeof *l);
    *l = (struct local){e, index};
    bus_request(e->delivery->worker->bus, "mailbox.deliver",
                json_pack("{s:s,s:O,s:O,s:O}", "id", e->id, "rcpt", json_object_get(rcpt, "address"), "user", json_object_get(rcpt, "user"), "from",
                          json_object_get(e->envelope, "from")),
                DELIVERY_LOCAL_MS, on_delivered, l);
}
