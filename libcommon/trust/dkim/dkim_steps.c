/* Lines of explanation. */
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/trust/dkim/dkim_private.h"

enum { SHOWN_BYTES = 300 };

struct dkim_steps *dkim_steps_create(struct arena *arena, size_t room) {
    struct dkim_steps *s = arena_alloc(arena, sizeof *s);
    *s = (struct dkim_steps){.arena = arena, .room = room, .lines = arena_alloc(arena, room * sizeof *s->lines)};
    return s;
}

void dkim_step(struct dkim_steps *s, const char *format, ...) {
    if (!s || s->count == s->room) return;
    char *line = arena_alloc(s->arena, DKIM_STEP_BYTES);
    va_list words;
    va_start(words, format);
    vsnprintf(line, DKIM_STEP_BYTES, format, words);
    va_end(words);
    for (char *p = line; *p; p++) /* bytes of the message cannot control a terminal or break a
                                     line */
        if (*p < ' ' || *p > '~') *p = *p == '\r' || *p == '\n' || *p == '\t' ? ' ' : '?';
    s->lines[s->count++] = line;
}

void dkim_step_body(struct dkim_steps *s, const struct dkim_signature *signature, const struct body_digest *digest) {
    if (!s) return;
    if (!digest) {
        dkim_step(s, "body: no hash of this kind was computed, at most %d kinds are", BODY_HASHES_MAX);
        return;
    }
    struct buf ours = {0}, theirs = {0};
    base64_encode(slice_make(digest->digest, BODY_HASH_BYTES), &ours);
    bool same = dkim_base64(signature->bh, &theirs) == 0 &&
                slice_equal(buf_slice(&theirs), slice_make(digest->digest, BODY_HASH_BYTES));
    if (digest->hashed != UINT64_MAX)
        dkim_step(s, "body: %s, %llu bytes hashed", signature->body.relaxed ? "relaxed" : "simple",
                  (unsigned long long)digest->hashed);
    if (signature->body.length >= 0)
        dkim_step(s, "body: l=%lld, what follows is not signed", (long long)signature->body.length);
    dkim_step(s, "body hash: bh=%.*s, ours %s: %s", SLICE_FMT(slice_head(signature->bh, SHOWN_BYTES)), buf_str(&ours),
              same ? "the same" : "different");
    buf_free(&ours);
    buf_free(&theirs);
}

void dkim_step_key(struct dkim_steps *s, const struct dkim_signature *signature, const struct dkim_key *key,
                   const char *reason) {
    if (!s) return;
    dkim_step(s, "key: TXT %.*s._domainkey.%.*s%s: %s%.*s%s", SLICE_FMT(signature->s), SLICE_FMT(signature->d),
              key->secure ? " (DNSSEC)" : "", key->text.n ? "\"" : "nothing",
              SLICE_FMT(slice_head(key->text, SHOWN_BYTES)),
              key->text.n > SHOWN_BYTES ? "...\""
              : key->text.n             ? "\""
                                        : "");
    if (key->key)
        dkim_step(s, "key: %s, %d bits%s%s", signature->ed25519 ? "ed25519" : "rsa", key->bits,
                  key->testing ? ", t=y: the domain is testing" : "",
                  key->strict_identity ? ", t=s: for the domain itself alone" : "");
    else
        dkim_step(s, "key: %s", reason);
}

void dkim_step_header(struct dkim_steps *s, const struct dkim_signature *signature, struct slice data,
                      const struct header_coverage *coverage, bool fits) {
    unsigned char digest[BODY_HASH_BYTES];
    unsigned n = 0;
    if (!s) return;
    struct buf b64 = {0};
    EVP_Digest(data.p, data.n, digest, &n, EVP_sha256(), NULL);
    base64_encode(slice_make(digest, n), &b64);
    if (signature->h.n)
        dkim_step(s, "header: h=%.*s%s", SLICE_FMT(slice_head(signature->h, SHOWN_BYTES)),
                  signature->h.n > SHOWN_BYTES ? "..." : "");
    if (coverage)
        dkim_step(s, "header: %zu fields signed, %zu names stand for fields that must stay absent", coverage->present,
                  coverage->absent);
    dkim_step(s, "header: %s, %zu bytes hashed, SHA-256 %s", signature->relaxed_header ? "relaxed" : "simple", data.n,
              buf_str(&b64));
    dkim_step(s, "signature: b=%.*s... %s", SLICE_FMT(slice_head(signature->b, 16)),
              fits ? "is of this hash by this key" : "is not of this hash by this key");
    buf_free(&b64);
}
