/* The beginning and the end of every request of this service. */
#include "services/verifier/verifier.h"

bool verifier_begin(struct verifier *v, struct bus_call *call) {
    if (v->requests >= VERIFIER_REQUESTS_MAX) {
        bus_refuse(call, "busy", "too many requests in flight");
        return false;
    }
    v->requests++;
    return true;
}

void verifier_end(struct verifier *v) {
    v->requests--;
    if (v->draining && v->requests == 0) service_drained(v->worker);
}
