#include "libcommon/codec/verify.h"

#include <stdlib.h>

static const char no_object[] = "the text is not a JSON object";

bool verify_ask_write(const struct verify_ask *a, struct buf *out) {
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_text(&j, "id", a->id);
    json_put_text(&j, "client_ip", a->client_ip);
    json_put_text(&j, "helo", a->helo);
    json_put_text(&j, "mail_from", a->mail_from);
    json_put_text(&j, "tls", a->tls);
    json_put_bool(&j, "smtputf8", a->smtputf8);
    json_put_base64(&j, "header_b64", a->header);
    json_put_array(&j, "body_hashes");
    for (size_t i = 0; i < a->hash_count; i++) {
        const struct verify_hash *h = &a->hashes[i];
        json_put_object(&j, NULL);
        json_put_word(&j, "canon", h->relaxed ? "relaxed" : "simple");
        json_put_word(&j, "algorithm", "sha256");
        if (h->length < 0)
            json_put_null(&j, "length");
        else
            json_put_integer(&j, "length", h->length);
        if (h->hashed >= 0) json_put_integer(&j, "hashed", h->hashed);
        json_put_base64(&j, "hash_b64", h->digest);
        json_put_end(&j, '}');
    }
    json_put_end(&j, ']');
    json_put_end(&j, '}');
    return !j.failed;
}

static const char *read_hashes(struct arena *arena, yyjson_val *list, struct verify_ask *out) {
    size_t i, n;
    yyjson_val *one;
    yyjson_arr_foreach(list, i, n, one) {
        struct verify_hash *h = &out->hashes[out->hash_count];
        if (out->hash_count == VERIFY_HASHES_MAX) break;
        if (json_take_base64(arena, one, "hash_b64", &h->digest) != 0 || h->digest.n != VERIFY_HASH_BYTES)
            return "a body hash is missing or no SHA-256 in base 64";
        h->relaxed = slice_is(json_take_text(one, "canon"), "relaxed");
        h->length = json_take_integer(one, "length", -1);
        h->hashed = json_take_integer(one, "hashed", -1);
        out->hash_count++;
    }
    return NULL;
}

const char *verify_ask_read(struct arena *arena, struct slice text, struct verify_ask *out) {
    yyjson_val *o;
    yyjson_doc *doc = json_take(text, &o);
    const char *fault;
    *out = (struct verify_ask){.hash_count = 0};
    if (!doc) return no_object;
    out->id = json_take_copy(arena, o, "id");
    out->client_ip = json_take_copy(arena, o, "client_ip");
    out->helo = json_take_copy(arena, o, "helo");
    out->mail_from = json_take_copy(arena, o, "mail_from");
    out->tls = json_take_copy(arena, o, "tls");
    out->smtputf8 = json_take_true(o, "smtputf8");
    fault = json_take_base64(arena, o, "header_b64", &out->header) != 0
                ? "header_b64 is missing or not base 64"
                : read_hashes(arena, yyjson_obj_get(o, "body_hashes"), out);
    yyjson_doc_free(doc);
    return fault;
}

/* Prefetch */

bool prefetch_ask_write(const struct prefetch_ask *a, struct buf *out) {
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_text(&j, "client_ip", a->client_ip);
    json_put_text(&j, "helo", a->helo);
    json_put_text(&j, "mail_from", a->mail_from);
    json_put_end(&j, '}');
    return !j.failed;
}

const char *prefetch_ask_read(struct arena *arena, struct slice text, struct prefetch_ask *out) {
    yyjson_val *o;
    yyjson_doc *doc = json_take(text, &o);
    if (!doc) return no_object;
    out->client_ip = json_take_copy(arena, o, "client_ip");
    out->helo = json_take_copy(arena, o, "helo");
    out->mail_from = json_take_copy(arena, o, "mail_from");
    yyjson_doc_free(doc);
    return NULL;
}

bool prefetch_reply_write(struct slice at, struct buf *out) {
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_text(&j, "at", at);
    json_put_end(&j, '}');
    return !j.failed;
}

const char *prefetch_reply_read(struct arena *arena, struct slice text, struct slice *at) {
    yyjson_val *o;
    yyjson_doc *doc = json_take(text, &o);
    if (!doc) return no_object;
    *at = json_take_copy(arena, o, "at");
    yyjson_doc_free(doc);
    return at->n ? NULL : "the answer names no worker";
}

/* The answer */

static void read_drops(struct arena *arena, yyjson_val *list, struct verify_reply *out) {
    size_t i, n;
    yyjson_val *one;
    out->drops = arena_alloc(arena, (yyjson_arr_size(list) + 1) * sizeof *out->drops);
    yyjson_arr_foreach(list, i, n, one) {
        yyjson_val *offset = yyjson_arr_get(one, 0), *length = yyjson_arr_get(one, 1);
        if (out->drop_count == VERIFY_DROPS_MAX || !yyjson_is_uint(offset) || !yyjson_is_uint(length)) break;
        out->drops[out->drop_count++] = (struct verify_drop){yyjson_get_uint(offset), yyjson_get_uint(length)};
    }
}

/* All members except the two about the bytes of the header. */
static struct slice read_proofs(struct arena *arena, yyjson_val *o) {
    struct buf text = {0};
    size_t i, n;
    yyjson_val *name, *value;
    buf_add_char(&text, '{');
    yyjson_obj_foreach(o, i, n, name, value) {
        size_t length;
        if (yyjson_equals_str(name, "headers") || yyjson_equals_str(name, "drop")) continue;
        char *one = yyjson_val_write(value, 0, &length), *key = yyjson_val_write(name, 0, NULL);
        if (!one || !key) memory_exhausted();
        if (text.n > 1) buf_add_char(&text, ',');
        buf_add_str(&text, key);
        buf_add_char(&text, ':');
        buf_add(&text, one, length);
        free(one);
        free(key);
    }
    buf_add_char(&text, '}');
    struct slice proofs = arena_slice(arena, buf_slice(&text));
    buf_free(&text);
    return proofs;
}

const char *verify_reply_read(struct arena *arena, struct slice text, struct verify_reply *out) {
    yyjson_val *o;
    yyjson_doc *doc = json_take(text, &o);
    *out = (struct verify_reply){.drop_count = 0};
    if (!doc) return no_object;
    yyjson_val *dmarc = yyjson_obj_get(o, "dmarc"), *arc = yyjson_obj_get(o, "arc");
    out->disposition = json_take_copy(arena, o, "disposition");
    out->enhanced = json_take_copy(arena, o, "enhanced");
    out->reason = json_take_copy(arena, o, "reason");
    out->headers = json_take_copy(arena, o, "headers");
    out->dmarc_result = json_take_copy(arena, dmarc, "result");
    out->dmarc_from = json_take_copy(arena, dmarc, "from");
    out->organizational_domain = json_take_copy(arena, dmarc, "organizational_domain");
    out->arc_cv = json_take_copy(arena, arc, "cv");
    out->arc_sets = json_take_integer(arc, "sets", 0);
    read_drops(arena, yyjson_obj_get(o, "drop"), out);
    out->proofs = read_proofs(arena, o);
    yyjson_doc_free(doc);
    return out->disposition.n ? NULL : "the answer has no disposition";
}

/* Signatures */

bool sign_ask_write(const struct sign_ask *a, struct buf *out) {
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_text(&j, "id", a->id);
    json_put_text(&j, "domain", a->domain);
    json_put_base64(&j, "header_b64", a->header);
    json_put_base64(&j, "body_hash_b64", a->body_hash);
    json_put_end(&j, '}');
    return !j.failed;
}

const char *sign_ask_read(struct arena *arena, struct slice text, struct sign_ask *out) {
    yyjson_val *o;
    yyjson_doc *doc = json_take(text, &o);
    *out = (struct sign_ask){.id = {NULL, 0}};
    if (!doc) return no_object;
    out->id = json_take_copy(arena, o, "id");
    out->domain = json_take_copy(arena, o, "domain");
    bool good = json_take_base64(arena, o, "header_b64", &out->header) == 0 &&
                json_take_base64(arena, o, "body_hash_b64", &out->body_hash) == 0 &&
                out->body_hash.n == VERIFY_HASH_BYTES;
    yyjson_doc_free(doc);
    return good ? NULL : "header_b64 or body_hash_b64 is missing or not base 64";
}

bool sign_reply_write(struct slice headers, struct buf *out) {
    struct json_put j = json_put_begin(out);
    json_put_object(&j, NULL);
    json_put_text(&j, "headers", headers);
    json_put_end(&j, '}');
    return !j.failed;
}

const char *sign_reply_read(struct arena *arena, struct slice text, struct slice *headers) {
    yyjson_val *o;
    yyjson_doc *doc = json_take(text, &o);
    bool there = json_take_text(o, "headers").p != NULL;
    *headers = json_take_copy(arena, o, "headers");
    yyjson_doc_free(doc);
    return !doc ? no_object : there ? NULL : "the answer has no headers";
}
