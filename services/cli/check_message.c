/* postbus check message: what a receiver would say of a stored message. */
#include <errno.h>
#include <time.h>

#include "libcommon/mail/header.h"
#include "services/cli/check.h"

enum { MESSAGE_BYTES_MAX = 64 << 20 };

/* The file with CRLF line ends (a stored message may have LF alone): 0 or -1. */
static int read_message(const char *path, struct buf *out) {
    FILE *f = fopen(strcmp(path, "-") == 0 ? "/dev/stdin" : path, "rb");
    if (!f) {
        fprintf(stderr, "postbus: %s: %s\n", path, strerror(errno));
        return -1;
    }
    for (int c, last = 0; out->n < MESSAGE_BYTES_MAX && (c = getc(f)) != EOF; last = c) {
        if (c == '\n' && last != '\r') buf_add_char(out, '\r');
        buf_add_char(out, (char)c);
    }
    bool whole = feof(f) && !ferror(f);
    fclose(f);
    if (!whole) fprintf(stderr, "postbus: %s: cannot be read whole, or is over 64 MiB\n", path);
    return whole ? 0 : -1;
}

/* The worst of the proofs: something that cannot be known now, before what failed. */
static int status_of(const struct trust_result *r, bool envelope) {
    bool temporary = r->dmarc.result == DMARC_TEMPERROR, failed = r->dmarc.result == DMARC_FAIL || r->dmarc.result == DMARC_PERMERROR;
    if (envelope) {
        temporary |= check_spf_status(r->spf.result) == CLI_TEMPORARY;
        failed |= check_spf_status(r->spf.result) == CLI_FAILED;
    }
    for (size_t i = 0; i < r->dkim_count; i++) {
        temporary |= r->dkim[i].result == DKIM_TEMPERROR;
        failed |= r->dkim[i].result == DKIM_FAIL || r->dkim[i].result == DKIM_PERMERROR;
    }
    failed |= r->arc.result == ARC_FAIL;
    return temporary ? CLI_TEMPORARY : failed ? CLI_FAILED : CLI_OK;
}

static void print_message(const struct trust_result *r, bool envelope) {
    if (envelope) check_print_spf(&r->spf);
    if (!r->dkim_count) puts("dkim   none: the message carries no signature");
    for (size_t i = 0; i < r->dkim_count; i++) {
        const struct dkim_signature *s = &r->dkim[i].signature;
        printf("dkim   %s: %s (d=%.*s s=%.*s a=%.*s bh=%.*s)\n", dkim_result_text(r->dkim[i].result), r->dkim[i].reason, SLICE_FMT(s->d), SLICE_FMT(s->s),
               SLICE_FMT(s->a), SLICE_FMT(s->bh));
    }
    printf("dmarc  %s: %s (from %s, record of %s, policy %s)\n", dmarc_result_text(r->dmarc.result), r->dmarc.reason, r->dmarc.from_domain,
           r->dmarc.record_domain, dmarc_policy_text(r->dmarc.policy));
    printf("arc    %s: %s (%zu sets)\n", arc_result_text(r->arc.result), r->arc.reason, r->arc.sets);
}

int check_message(struct cli *c) {
    struct buf message = {0};
    if (read_message(c->words[0], &message)) {
        buf_free(&message);
        return CLI_FAILED;
    }
    struct check_dns *d = check_dns_create(c->resolver, !c->json);
    if (!d) {
        buf_free(&message);
        return CLI_UNAVAILABLE;
    }
    struct trust_dns dns = check_dns_lookups(d);
    struct body_hash_kind kinds[BODY_HASHES_MAX];
    struct body_digest digests[BODY_HASHES_MAX];
    size_t body_at;
    struct slice header = header_block(buf_slice(&message), &body_at), body = slice_skip(buf_slice(&message), body_at);
    size_t count = body_hash_wanted(header, kinds);
    for (size_t i = 0; i < count; i++) {
        struct body_hash *h = body_hash_create(kinds[i]);
        body_hash_update(h, body);
        digests[i].kind = kinds[i];
        body_hash_finish(h, digests[i].digest, &digests[i].hashed);
    }
    struct arena *arena = arena_create();
    struct dkim_key_cache *cache = dkim_key_cache_create();
    struct trust_result r;
    bool envelope = c->ip && (c->helo || c->mail_from);
    struct trust_input in = {.client_ip = slice_of(c->ip),
                             .helo = slice_of(c->helo),
                             .mail_from = slice_of(c->mail_from),
                             .header = header,
                             .digest_count = count,
                             .digests = digests,
                             .authserv_id = SLICE("postbus-check"),
                             .now = time(NULL),
                             .explain = true};
    trust_verify(arena, &in, &dns, cache, &r);
    if (c->json) {
        json_t *o = trust_result_json(&r, true);
        if (!envelope) { /* without an envelope there is nothing these could be about */
            json_object_del(o, "spf");
            json_object_del(o, "iprev");
        }
        check_print(o);
        json_decref(o);
    } else {
        print_message(&r, envelope);
    }
    int status = status_of(&r, envelope);
    dkim_key_cache_destroy(cache);
    arena_destroy(arena);
    check_dns_destroy(d);
    buf_free(&message);
    return status;
}
