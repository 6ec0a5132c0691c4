/* Asks the verifier over the bus as smtpd does (services/smtpd/accept.c): the body is hashed here,
 * in the pieces in which it would arrive, and the header block travels with the hashes. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/base64.h"
#include "libcommon/bus/bus.h"
#include "libcommon/trust/dkim/body_hash.h"
#include "tests/bench/verify/load.h"

enum { PIECE = 4096, ANSWER_MS = 30000 };

struct asker {
    struct load *load;
    struct bus *bus;
};

static void ask_next(struct asker *a);

static bool is(const json_t *object, const char *name, const char *word) {
    const char *text = json_string_value(json_object_get(object, name));
    return text && strcmp(text, word) == 0;
}

static void on_verified(void *ctx, int error, const json_t *reply) {
    struct asker *a = ctx;
    const json_t *dkim = json_object_get(reply, "dkim");
    bool passed = !error && is(reply, "disposition", "accept") && is(json_object_get(reply, "spf"), "result", "pass") &&
                  json_array_size(dkim) == 2 && is(json_array_get(dkim, 0), "result", "pass") &&
                  is(json_array_get(dkim, 1), "result", "pass") && is(json_object_get(reply, "arc"), "cv", "pass") &&
                  is(json_object_get(reply, "dmarc"), "result", "pass");
    char *text = passed || !reply ? NULL : json_dumps(reply, 0);
    load_done(a->load, passed, slice_of(text ? text : "no answer"));
    free(text);
    ask_next(a);
}

static void add_base64(json_t *object, const char *name, struct slice bytes) {
    struct buf text = {0};
    base64_encode(bytes, &text);
    json_object_set_new(object, name, json_stringn_nocheck(buf_str(&text), text.n));
    buf_free(&text);
}

static json_t *hash_body(struct load *l, const struct sample *s) {
    struct body_hash_kind kinds[BODY_HASHES_MAX];
    struct body_hash *hashes[BODY_HASHES_MAX];
    unsigned char digests[BODY_HASHES_MAX][BODY_HASH_BYTES];
    uint64_t hashed[BODY_HASHES_MAX];
    json_t *list = json_array();
    int64_t began = thread_cpu_ns();
    size_t count = body_hash_wanted(s->header, kinds);
    for (size_t i = 0; i < count; i++) hashes[i] = body_hash_create(kinds[i]);
    for (struct slice rest = s->body; rest.n; rest = slice_skip(rest, PIECE))
        for (size_t i = 0; i < count; i++) body_hash_update(hashes[i], slice_head(rest, PIECE));
    for (size_t i = 0; i < count; i++) body_hash_finish(hashes[i], digests[i], &hashed[i]);
    l->hashing_ns += thread_cpu_ns() - began;
    for (size_t i = 0; i < count; i++) {
        json_t *one = json_pack("{s:s,s:s,s:o}", "canon", kinds[i].relaxed ? "relaxed" : "simple", "algorithm",
                                "sha256", "length", kinds[i].length < 0 ? json_null() : json_integer(kinds[i].length));
        add_base64(one, "hash_b64", slice_make(digests[i], BODY_HASH_BYTES));
        json_object_set_new(one, "hashed", json_integer((json_int_t)hashed[i]));
        json_array_append_new(list, one);
    }
    return list;
}

static void ask_next(struct asker *a) {
    const struct sample *s = load_take(a->load);
    if (!s) return;
    json_t *ask = json_pack("{s:s,s:s,s:s,s:s,s:s,s:o}", "id", "01K3Z0000000000000BENCHBEN", "client_ip", s->ip, "helo",
                            s->helo, "mail_from", s->from, "tls", "TLSv1.3", "body_hashes", hash_body(a->load, s));
    add_base64(ask, "header_b64", s->header);
    bus_request(a->bus, "verifier.verify", ask, ANSWER_MS, on_verified, a);
}

void drive_postbus(struct load *l, const struct settings *s) {
    char password[256] = "";
    FILE *file = fopen(s->password_file, "r");
    if (!file || !fgets(password, sizeof password, file)) {
        perror(s->password_file);
        exit(1);
    }
    fclose(file);
    password[strcspn(password, "\r\n")] = 0;
    struct asker *a = memory_alloc(sizeof *a);
    a->load = l;
    a->bus = bus_create(l->base, s->nats, "smtpd", "smtpd", password);
    for (int i = 0; i < l->sessions; i++) ask_next(a);
}
