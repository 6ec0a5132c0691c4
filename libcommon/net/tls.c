#include "libcommon/net/tls.h"

#include <openssl/err.h>
#include <stdio.h>

#include "libcommon/base/log.h"

const char *tls_error_text(char out[256]) {
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(out, 256, "%s", reason ? reason : "unknown reason");
    ERR_clear_error();
    return out;
}

SSL_CTX *tls_server_context(const char *certificate_file, const char *key_file) {
    char why[256];
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    if (!c || SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1 ||
        SSL_CTX_use_certificate_chain_file(c, certificate_file) != 1 ||
        SSL_CTX_use_PrivateKey_file(c, key_file, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(c) != 1) {
        log_error("cannot use this TLS certificate and key: both must be PEM files, and the key must belong to the "
                  "certificate",
                  "certificate", certificate_file, "key", key_file, "reason", tls_error_text(why), NULL);
        SSL_CTX_free(c);
        return NULL;
    }
    static const unsigned char session_context[] = "postbus";
    SSL_CTX_set_session_id_context(c, session_context, sizeof session_context - 1);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_PRIORITIZE_CHACHA | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS); /* an idle IMAP session keeps no 34 KB of
                                                      buffers */
    return c;
}

SSL_CTX *tls_client_context(const char *ca_file) {
    char why[256];
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    if (!c) return NULL;
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
    int known = ca_file && *ca_file ? SSL_CTX_load_verify_file(c, ca_file) : SSL_CTX_set_default_verify_paths(c);
    if (known != 1) {
        log_error("cannot read the CA certificates", "file", ca_file ? ca_file : "the system's", "reason",
                  tls_error_text(why), NULL);
        SSL_CTX_free(c);
        return NULL;
    }
    return c;
}
