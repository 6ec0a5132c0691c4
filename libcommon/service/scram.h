/* SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), the server's side: for the services that
 * have the client's connection, and for accounts, which has the keys. The password itself never goes
 * to the server. The exchange:
 *
 *   client-first      scram_first
 *   accounts.scram.salt     asked with scram_put_ask; answer: scram_challenge makes server-first
 *   client-final      scram_final
 *   accounts.scram.login    asked with scram_put_proof; answer: scram_end makes server-final
 *   an empty answer of the client, where the protocol needs one
 *
 * accounts keeps nothing between its two requests: what it needs comes with the second. All of it is
 * pure, but for the random nonce and salt. Messages are not in base 64 here, unless it is said. */
#ifndef POSTBUS_SERVICE_SCRAM_H
#define POSTBUS_SERVICE_SCRAM_H

#include "libcommon/base/buf.h"
#include "libcommon/base/json.h"
#include "libcommon/base/ulid.h"

/* OWASP's advice for PBKDF2-HMAC-SHA256 is 600,000 iterations; RFC 7677 §4 demands 4,096. */
enum {
    SCRAM_KEY_BYTES = 32,
    SCRAM_SALT_BYTES = 16,
    SCRAM_ITERATIONS_MIN = 4096,
    SCRAM_ITERATIONS_MAX = 10000000,
    SCRAM_ITERATIONS = 600000,
    SCRAM_MESSAGE_MAX = 2048, /* bytes of a message of the client */
};

/* What the server keeps of a password (RFC 5802 §3). */
struct scram_keys {
    unsigned iterations;
    unsigned char salt[SCRAM_SALT_BYTES], stored[SCRAM_KEY_BYTES], server[SCRAM_KEY_BYTES];
};
/* Costly. password: as it was typed; it is prepared with saslprep() if it can be. 0 or -1. */
int scram_keys_create(struct slice password, unsigned iterations, struct scram_keys *out);
/* The same with the salt and the number of iterations that *keys has. */
int scram_keys_derive(struct slice password, struct scram_keys *keys);
/* Whether the proof shows that the client knows the password; signature: of the server, valid then. */
bool scram_check(const struct scram_keys *keys, struct slice auth_message, struct slice proof,
                 unsigned char signature[SCRAM_KEY_BYTES]);
/* A password or name in the form of RFC 4013, added to out. -1: it contains what is not allowed, and
 * nothing is added. */
int saslprep(struct slice text, struct buf *out);

/* An exchange. Zeroed: none yet. */
struct scram {
    bool plus;          /* SCRAM-SHA-256-PLUS */
    struct buf header;  /* gs2-header */
    struct buf binding; /* the connection's channel binding data, for plus */
    struct buf name;
    struct buf first; /* client-first-bare */
    struct buf nonce; /* of both */
    struct buf challenge;
    struct buf auth_message, proof;
    char user[ULID_BYTES], generation[ULID_BYTES], *address; /* after scram_end */
};
void scram_free(struct scram *x);

enum scram_error {
    SCRAM_OK,
    SCRAM_MALFORMED = -1,   /* not a message of SCRAM */
    SCRAM_NO_BINDING = -2,  /* a channel binding that is not supported, or is not what this connection has; or the
                               client thinks that the server supports none, though it does */
    SCRAM_NO_IDENTITY = -3, /* authorization as another user */
    SCRAM_NO_ANSWER = -4,   /* accounts' answer cannot be used */
};
/* client-first. ssl: the connection's SSL *, under which SCRAM-SHA-256-PLUS is offered too; NULL: it
 * is not. */
int scram_first(struct scram *x, struct slice message, bool plus, void *ssl);
/* The request's members for accounts.scram.salt, and for accounts.scram.login. */
void scram_put_ask(const struct scram *x, struct json_put *j, const char *client_ip, const char *protocol);
void scram_put_proof(const struct scram *x, struct json_put *j, const char *client_ip, const char *protocol);
/* server-first, added to out in base 64. reply: accounts' answer. */
int scram_challenge(struct scram *x, struct slice reply, struct buf *out);
/* client-final. */
int scram_final(struct scram *x, struct slice message);
/* server-final, added to out in base 64; x->user, x->generation and x->address. */
int scram_end(struct scram *x, struct slice reply, struct buf *out);

/* The channel binding data of a connection (RFC 9266 tls-exporter, RFC 5929 tls-server-end-point),
 * added to out. -1: not this type on this connection. ssl: SSL *. */
int scram_binding(void *ssl, struct slice type, struct buf *out);

#endif
