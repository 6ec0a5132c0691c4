/* verifier.explain: verifies a message in the store again, step by step, as verifier.verify does.
 * The store is only read. */
#include <stdlib.h>

#include "libcommon/base/member.h"
#include "libcommon/base/ulid.h"
#include "libcommon/mail/header.h"
#include "libcommon/store/blob.h"
#include "services/verifier/verifier.h"

struct explain {
    struct verifier *verifier;
    struct bus_call *call;
    struct arena *arena;
    struct trust_input input;
};

/* The message as received: the fields that this site added at the top end with its own Received
 * field. */
static struct slice as_received(struct slice message) {
    struct header_field f;
    size_t at = 0, body_at;
    struct slice header = header_block(message, &body_at);
    while (header_next(header, &at, &f) == 1)
        if (slice_is_nocase(f.name, "Received")) return slice_skip(message, at);
    return message;
}

static void hash_body(struct explain *e, struct slice body) {
    struct body_hash_kind kinds[BODY_HASHES_MAX];
    size_t count = body_hash_wanted(e->input.header, kinds);
    struct body_digest *digests = arena_alloc(e->arena, (count + 1) * sizeof *digests);
    for (size_t i = 0; i < count; i++) {
        struct body_hash *h = body_hash_create(kinds[i]);
        body_hash_update(h, body);
        digests[i].kind = kinds[i];
        body_hash_finish(h, digests[i].digest, &digests[i].hashed);
    }
    e->input.digests = digests;
    e->input.digest_count = count;
}

static void on_message(void *ctx, int error, struct slice message) {
    struct explain *e = ctx;
    size_t body_at;
    if (error) {
        bus_refuse(e->call, error == STORE_NOT_FOUND ? "not_found" : "unavailable",
                   error == STORE_NOT_FOUND ? "the message is not in the store" : "the store cannot be read now");
        verifier_end(e->verifier);
        arena_destroy(e->arena);
    } else {
        message = as_received(message);
        e->input.header = arena_slice(e->arena, header_block(message, &body_at));
        hash_body(e, slice_skip(message, body_at));
        verify_start(e->verifier, e->call, e->arena, &e->input);
    }
    free(e);
}

static void on_explain(void *ctx, struct bus_call *call, const json_t *ask) {
    struct verifier *v = ctx;
    struct slice id = member_slice(ask, "id");
    if (!ulid_is_valid(id)) {
        bus_refuse(call, "invalid", "id is not a message id");
        return;
    }
    if (!verifier_begin(v, call)) return;
    struct explain *e = memory_alloc(sizeof *e);
    e->verifier = v;
    e->call = call;
    e->arena = arena_create();
    e->input = (struct trust_input){.client_ip = arena_slice(e->arena, member_slice(ask, "client_ip")),
                                    .helo = arena_slice(e->arena, member_slice(ask, "helo")),
                                    .mail_from = arena_slice(e->arena, member_slice(ask, "mail_from")),
                                    .explain = true};
    blob_read(v->worker->redis, id, NULL, on_message, e);
}

void explain_serve(struct verifier *v) { bus_serve(v->worker->bus, "explain", on_explain, v); }
