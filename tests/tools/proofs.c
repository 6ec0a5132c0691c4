/* proofs: the library's signatures on many messages without a process for each, for cross-checks
 * with other implementations. Reads requests from standard input, each a line of words that ends
 * with the length of the bytes that follow it, and answers each:
 *
 *   record NAME LENGTH             a TXT record that the DNS has from now on; "!" as its text: no
 *                                  answer. No reply.
 *   key SELECTOR LENGTH            a private key (PEM). No reply.
 *   verify LENGTH                  a message → a line of JSON: {"dkim":[…],"arc":{…}}
 *   sign SELECTOR DOMAIN LENGTH    a message → "LENGTH\n" and the DKIM-Signature field that
 *                                  dkim_sign makes
 *   sign-as SELECTOR TAGS LENGTH   the same with these tags (without white space, bh= and b=)
 *   seal SELECTOR DOMAIN LENGTH    a message → "LENGTH\n" and the ARC set that arc_seal makes */
#include <jansson.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <time.h>

#include "tests/unit/trust/signing.h"

enum { RECORDS_MAX = 64, KEYS_MAX = 16, MESSAGE_MAX = 64 << 20 };

struct world {
    struct arena *arena; /* of all time */
    size_t record_count, key_count;
    struct scripted_record records[RECORDS_MAX];
    struct {
        const char *selector;
        EVP_PKEY *key;
    } keys[KEYS_MAX];
    struct dkim_key_cache *cache;
};

static EVP_PKEY *key_of(struct world *w, const char *selector) {
    for (size_t i = 0; i < w->key_count; i++)
        if (strcmp(w->keys[i].selector, selector) == 0) return w->keys[i].key;
    fprintf(stderr, "proofs: no key %s\n", selector);
    exit(2);
}

static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    struct scripted_dns *d = ctx;
    memset(d->asked, 1, sizeof d->asked); /* everything is known */
    return scripted_lookup(d, name, type);
}

static void put_field(const struct buf *field) {
    printf("%zu\n", field->n);
    fwrite(field->data, 1, field->n, stdout);
    fflush(stdout);
}

/* What is said of a message's signatures and of its chain. */
struct judgement {
    size_t dkim_count;
    struct dkim_verdict *dkim;
    struct arc_verdict arc;
};

static void judge(struct world *w, struct arena *arena, struct slice message, struct judgement *j) {
    struct scripted_dns script = {.records = w->records, .count = w->record_count, .arena = arena};
    struct trust_dns dns = {look_up, &script};
    struct body_digest digests[BODY_HASHES_MAX];
    size_t body_at;
    struct slice header = header_block(message, &body_at);
    struct dkim_message m = {.header = header, .digests = digests, .now = time(NULL), .explain = true};
    m.digest_count = body_digests_of(header, slice_skip(message, body_at), digests);
    if (dkim_verify(arena, &m, &dns, w->cache, &j->dkim_count, &j->dkim) != TRUST_DONE ||
        arc_verify(arena, &m, &dns, w->cache, &j->arc) != TRUST_DONE)
        abort();
}

static void verify(struct world *w, struct slice message) {
    struct arena *arena = arena_create();
    struct judgement j;
    judge(w, arena, message, &j);
    json_t *dkim = json_array();
    for (size_t i = 0; i < j.dkim_count; i++)
        json_array_append_new(
            dkim, json_pack("{s:s,s:s}", "result", dkim_result_text(j.dkim[i].result), "reason", j.dkim[i].reason));
    json_t *o = json_pack("{s:o,s:{s:s,s:s}}", "dkim", dkim, "arc", "cv", arc_result_text(j.arc.result), "reason",
                          j.arc.reason);
    char *text = json_dumps(o, JSON_COMPACT);
    puts(text);
    fflush(stdout);
    free(text);
    json_decref(o);
    arena_destroy(arena);
}

static void sign(struct world *w, const char *selector, const char *domain, const char *tags, struct slice message) {
    size_t body_at;
    struct slice header = header_block(message, &body_at), body = slice_skip(message, body_at);
    struct body_digest digest;
    struct buf field = {0};
    body_digest_of(body, (struct body_hash_kind){true, -1}, &digest);
    if (tags)
        sign_with(key_of(w, selector), "DKIM-Signature", tags, header, body, &field);
    else if (dkim_sign(header, digest.digest, slice_of(domain), slice_of(selector), key_of(w, selector), time(NULL),
                       &field) != 0)
        abort();
    put_field(&field);
    buf_free(&field);
}

static void seal(struct world *w, const char *selector, const char *domain, struct slice message) {
    struct arena *arena = arena_create();
    struct body_digest digest;
    struct judgement j;
    size_t body_at;
    struct slice header = header_block(message, &body_at);
    struct buf field = {0};
    judge(w, arena, message, &j);
    body_digest_of(slice_skip(message, body_at), (struct body_hash_kind){true, -1}, &digest);
    arc_seal(header, digest.digest, &j.arc, SLICE("mx.here.test"),
             j.arc.result == ARC_PASS ? SLICE(" arc=pass") : SLICE(" none"), slice_of(domain), slice_of(selector),
             key_of(w, selector), time(NULL), &field);
    put_field(&field);
    buf_free(&field);
    arena_destroy(arena);
}

static void take_key(struct world *w, const char *selector, struct slice pem) {
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (!key || w->key_count == KEYS_MAX) abort();
    w->keys[w->key_count].selector = arena_copy(w->arena, slice_of(selector));
    w->keys[w->key_count++].key = key;
}

static void take_record(struct world *w, const char *name, struct slice text) {
    if (w->record_count == RECORDS_MAX) abort();
    w->records[w->record_count++] =
        (struct scripted_record){arena_copy(w->arena, slice_of(name)), "TXT", arena_copy(w->arena, text)};
}

int main(void) {
    struct world w = {.arena = arena_create(), .cache = dkim_key_cache_create()};
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        char *words[4] = {0}, *state = NULL;
        int n = 0;
        for (char *word = strtok_r(line, " \n", &state); word && n < 4; word = strtok_r(NULL, " \n", &state))
            words[n++] = word;
        if (n < 2) return 2;
        size_t length = strtoul(words[n - 1], NULL, 10);
        if (length > MESSAGE_MAX) return 2;
        char *bytes = memory_alloc(length + 1);
        if (fread(bytes, 1, length, stdin) != length) return 2;
        struct slice text = slice_make(bytes, length);
        if (strcmp(words[0], "record") == 0 && n == 3)
            take_record(&w, words[1], text);
        else if (strcmp(words[0], "key") == 0 && n == 3)
            take_key(&w, words[1], text);
        else if (strcmp(words[0], "verify") == 0)
            verify(&w, text);
        else if (strcmp(words[0], "sign") == 0 && n == 4)
            sign(&w, words[1], words[2], NULL, text);
        else if (strcmp(words[0], "sign-as") == 0 && n == 4)
            sign(&w, words[1], NULL, words[2], text);
        else if (strcmp(words[0], "seal") == 0 && n == 4)
            seal(&w, words[1], words[2], text);
        else
            return 2;
        free(bytes);
    }
    free(line);
    for (size_t i = 0; i < w.key_count; i++) EVP_PKEY_free(w.keys[i].key);
    dkim_key_cache_destroy(w.cache);
    arena_destroy(w.arena);
    return 0;
}
