/* /api/v1/messages/{id}/verdict: the results of a message's verification at its arrival, from the
 * journal; and the results of a new verification, step by step, while the store still has the
 * message (DNS may have changed, and keys may have been removed). */
#include "libcommon/base/member.h"
#include "services/admin/admin.h"

/* The event of the message's arrival from another server; NULL when it was submitted here. */
static const json_t *find_arrival(const json_t *events) {
    size_t i;
    const json_t *event;
    json_array_foreach((json_t *)(uintptr_t)events, i, event) {
        const json_t *data = json_object_get(event, "data");
        bool accepted = strcmp(member_text(event, "type"), "postbus.mail.accepted") == 0,
             refused = strcmp(member_text(event, "type"), "postbus.mail.refused") == 0;
        if ((accepted || refused) && json_is_object(json_object_get(data, "verdict"))) return event;
    }
    return NULL;
}

/* {"id","received":{…},"now":{…}|null,"now_reason":…}; takes ownership of now. */
static void answer(struct request *r, json_t *now, const char *now_reason) {
    request_answer(r, 200,
                   json_pack("{s:s,s:O,s:o,s:o}", "id", r->part, "received", r->state, "now", now ? now : json_null(),
                             "now_reason", now ? json_null() : json_string(now_reason)));
}

static void on_explained(struct request *r, int error, const json_t *reply) {
    if (error) {
        const char *words = member_text(json_object_get(reply, "error"), "message");
        answer(r, NULL, *words ? words : "the verifier did not answer in time");
        return;
    }
    json_t *now = json_deep_copy(reply);
    json_object_del(now, "headers"); /* the header fields are not needed here */
    json_object_del(now, "drop");
    answer(r, now, NULL);
}

static void on_events(struct request *r, const json_t *events) {
    const json_t *event = find_arrival(events), *data = json_object_get(event, "data"),
                 *client = json_object_get(data, "client");
    if (!event) {
        request_problem(r, 404, "this message was submitted here, so it was not verified");
        return;
    }
    bool refused = strcmp(member_text(event, "type"), "postbus.mail.refused") == 0;
    r->state = json_pack("{s:s,s:s,s:s,s:O?,s:O}", "time", member_text(event, "time"), "outcome",
                         refused ? "refused" : "accepted", "from", member_text(data, "from"), "client", client,
                         "verdict", json_object_get(data, "verdict"));
    if (refused) {
        answer(r, NULL, "the message was refused, so it is not in the store");
        return;
    }
    json_t *ask = json_pack("{s:s,s:s,s:s,s:s}", "id", r->part, "client_ip", member_text(client, "ip"), "helo",
                            member_text(client, "helo"), "mail_from", member_text(data, "from"));
    request_ask(r, "verifier.explain", ask, LONG_ASK_MS, on_explained);
}

void verdict_get(struct request *r) { journal_read(r, on_events); }
