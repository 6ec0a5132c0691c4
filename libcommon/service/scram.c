/* The messages of SCRAM (RFC 5802 §7) and its two requests to accounts. */
#include "libcommon/service/scram.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/base64.h"

enum { NONCE_BYTES = 18, NONCE_MAX = 512 };

void scram_free(struct scram *x) {
    struct buf *all[] = {&x->header, &x->binding,   &x->name,         &x->first,
                         &x->nonce,  &x->challenge, &x->auth_message, &x->proof};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) buf_free(all[i]);
    free(x->address);
    *x = (struct scram){0};
}

/* Takes "<letter>=<value>" up to the next comma. False: the next attribute is another. */
static bool take(struct slice *message, char letter, struct slice *value) {
    struct slice rest = *message, one;
    if (rest.n < 2 || rest.p[0] != letter || rest.p[1] != '=') return false;
    if (!slice_cut(&rest, ',', &one)) {
        one = rest;
        rest = slice_skip(rest, rest.n);
    }
    *value = slice_skip(one, 2);
    *message = rest;
    return true;
}

/* saslname: "=2C" is a comma, "=3D" an equals sign, and no other "=" is allowed. */
static bool take_name(struct slice text, struct buf *name) {
    buf_reset(name);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '=') {
            buf_add_char(name, text.p[i]);
            continue;
        }
        struct slice code = slice_head(slice_skip(text, i), 3);
        if (slice_is(code, "=2C"))
            buf_add_char(name, ',');
        else if (slice_is(code, "=3D"))
            buf_add_char(name, '=');
        else
            return false;
        i += 2;
    }
    return name->n > 0 && json_is_utf8(buf_slice(name)) && !memchr(name->data, 0, name->n);
}

static bool is_nonce(struct slice text) {
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < 0x21 || text.p[i] > 0x7e || text.p[i] == ',') return false;
    return text.n > 0 && text.n <= NONCE_MAX;
}

/* gs2-header: "n", "y" or "p=<type>", a comma, perhaps "a=<authorization identity>", a comma. */
static int take_header(struct scram *x, struct slice *rest, bool plus, bool plus_offered, struct slice *binding,
                       struct slice *identity) {
    struct slice whole = *rest, flag, authorize;
    if (!slice_cut(rest, ',', &flag) || !slice_cut(rest, ',', &authorize)) return SCRAM_MALFORMED;
    *binding = slice_starts(flag, SLICE("p=")) ? slice_skip(flag, 2) : SLICE("");
    if (!binding->n && !slice_is(flag, "n") && !slice_is(flag, "y")) return SCRAM_MALFORMED;
    if ((binding->n != 0) != plus || (slice_is(flag, "y") && plus_offered)) return SCRAM_NO_BINDING; /* RFC 5802 §6 */
    *identity = SLICE("");
    if (authorize.n && !take(&authorize, 'a', identity)) return SCRAM_MALFORMED;
    buf_add_slice(&x->header, slice_head(whole, (size_t)(rest->p - whole.p)));
    return SCRAM_OK;
}

int scram_first(struct scram *x, struct slice message, bool plus, void *ssl) {
    struct slice rest = message, binding, identity, name, nonce, bare;
    scram_free(x);
    x->plus = plus;
    if (message.n > SCRAM_MESSAGE_MAX) return SCRAM_MALFORMED;
    int error = take_header(x, &rest, plus, ssl != NULL, &binding, &identity);
    if (error) return error;
    if (plus && scram_binding(ssl, binding, &x->binding) != 0) return SCRAM_NO_BINDING;
    bare = rest;
    /* "m=" would be an extension that must be understood */
    if (!take(&rest, 'n', &name) || !take(&rest, 'r', &nonce) || !is_nonce(nonce)) return SCRAM_MALFORMED;
    if (identity.n && !slice_equal(identity, name)) return SCRAM_NO_IDENTITY;
    if (!take_name(name, &x->name)) return SCRAM_MALFORMED;
    unsigned char own[NONCE_BYTES];
    randombytes_buf(own, sizeof own);
    buf_add_slice(&x->first, bare);
    buf_add_slice(&x->nonce, nonce);
    base64_encode(slice_make((const char *)own, sizeof own), &x->nonce);
    return SCRAM_OK;
}

static void put_client(const struct scram *x, struct json_put *j, const char *client_ip, const char *protocol) {
    json_put_object(j, NULL);
    json_put_text(j, "login", buf_slice(&x->name));
    json_put_word(j, "client_ip", client_ip);
    json_put_word(j, "protocol", protocol);
}

void scram_put_ask(const struct scram *x, struct json_put *j, const char *client_ip, const char *protocol) {
    put_client(x, j, client_ip, protocol);
    json_put_end(j, '}');
}

void scram_put_proof(const struct scram *x, struct json_put *j, const char *client_ip, const char *protocol) {
    put_client(x, j, client_ip, protocol);
    json_put_base64(j, "message", buf_slice(&x->auth_message));
    json_put_base64(j, "proof", buf_slice(&x->proof));
    json_put_end(j, '}');
}

int scram_challenge(struct scram *x, struct slice reply, struct buf *out) {
    yyjson_val *o = NULL;
    yyjson_doc *doc = json_take(reply, &o);
    struct slice salt = json_take_text(o, "salt");
    int64_t iterations = json_take_integer(o, "iterations", 0);
    bool right = salt.n && iterations >= SCRAM_ITERATIONS_MIN && iterations <= SCRAM_ITERATIONS_MAX;
    if (right) {
        buf_reset(&x->challenge);
        buf_printf(&x->challenge, "r=%s,s=%.*s,i=%lld", buf_str(&x->nonce), SLICE_FMT(salt), (long long)iterations);
        base64_encode(buf_slice(&x->challenge), out);
    }
    yyjson_doc_free(doc);
    return right ? SCRAM_OK : SCRAM_NO_ANSWER;
}

int scram_final(struct scram *x, struct slice message) {
    struct slice rest = message, bound, nonce, proof;
    struct buf channel = {0}, expected = {0};
    if (message.n > SCRAM_MESSAGE_MAX || !take(&rest, 'c', &bound) || !take(&rest, 'r', &nonce)) return SCRAM_MALFORMED;
    while (rest.n && rest.p[0] != 'p') { /* extensions, which may be ignored */
        struct slice ignored;
        if (!slice_cut(&rest, ',', &ignored)) return SCRAM_MALFORMED;
    }
    size_t without_proof = (size_t)(rest.p - message.p);
    if (!take(&rest, 'p', &proof) || rest.n || !without_proof || !slice_equal(nonce, buf_slice(&x->nonce)))
        return SCRAM_MALFORMED;
    buf_add_slice(&channel, buf_slice(&x->header));
    if (x->plus) buf_add_slice(&channel, buf_slice(&x->binding));
    base64_encode(buf_slice(&channel), &expected);
    bool same = slice_equal(bound, buf_slice(&expected));
    buf_free(&channel);
    buf_free(&expected);
    if (!same) return SCRAM_NO_BINDING;
    buf_reset(&x->proof);
    if (base64_decode(proof, false, &x->proof) != 0 || x->proof.n != SCRAM_KEY_BYTES) return SCRAM_MALFORMED;
    buf_reset(&x->auth_message);
    buf_printf(&x->auth_message, "%.*s,%.*s,%.*s", SLICE_FMT(buf_slice(&x->first)), SLICE_FMT(buf_slice(&x->challenge)),
               SLICE_FMT(slice_head(message, without_proof - 1)));
    return SCRAM_OK;
}

int scram_end(struct scram *x, struct slice reply, struct buf *out) {
    yyjson_val *o = NULL;
    yyjson_doc *doc = json_take(reply, &o);
    struct slice user = json_take_text(o, "user"), address = json_take_text(o, "address"),
                 signature = json_take_text(o, "signature");
    bool right = ulid_is_valid(user) && address.n && signature.n;
    if (right) {
        struct buf text = {0};
        buf_printf(&text, "v=%.*s", SLICE_FMT(signature));
        base64_encode(buf_slice(&text), out);
        buf_free(&text);
        memcpy(x->user, user.p, ULID_LENGTH);
        x->user[ULID_LENGTH] = '\0';
        struct slice generation = json_take_text(o, "generation");
        snprintf(x->generation, sizeof x->generation, "%.*s", SLICE_FMT(generation));
        free(x->address);
        x->address = memory_copy(address);
    }
    yyjson_doc_free(doc);
    return right ? SCRAM_OK : SCRAM_NO_ANSWER;
}
