/* Common code of all requests: the bound on requests in flight, and the texts of errors. */
#include "libcommon/codec/events.h"
#include "services/mailbox/mailbox_service.h"

bool requests_begin(struct mailbox_worker *m, struct bus_call *call, size_t bytes) {
    if (m->requests >= MAILBOX_REQUESTS_MAX || m->request_bytes + bytes > MAILBOX_REQUEST_BYTES_MAX) {
        bus_refuse(call, "busy", "too many requests in flight");
        return false;
    }
    m->requests++;
    m->request_bytes += bytes;
    return true;
}

void requests_end(struct mailbox_worker *m, size_t bytes) {
    m->request_bytes -= bytes;
    if (--m->requests == 0 && m->draining) service_drained(m->worker);
}

void refuse_store_error(struct bus_call *call, int error) {
    switch (error) {
    case STORE_NOT_FOUND: bus_refuse(call, "not_found", "there is no such message or mailbox"); return;
    case STORE_OVER_QUOTA: bus_refuse(call, "over_quota", "the mailbox is full"); return;
    case STORE_INVALID: bus_refuse(call, "invalid", "the store refuses these arguments"); return;
    case STORE_FULL: bus_refuse(call, "unavailable", "the store has no room"); return;
    default: bus_refuse(call, "unavailable", "the store is not available"); return;
    }
}

void say_changed(struct mailbox_worker *m, struct slice user, uint32_t folder, uint64_t modseq, const char *kind) {
    struct mailbox_changed event = {user, slice_of(kind), (int64_t)folder, (int64_t)modseq};
    buf_reset(&m->scratch);
    if (mailbox_changed_write(&event, &m->scratch))
        bus_publish_text(m->worker->bus, "mailbox.changed", user, buf_slice(&m->scratch));
}
