/* postbus check message: the verification of a stored message as a receiver would do it. */
#include <errno.h>
#include <time.h>

#include "libcommon/mail/header.h"
#include "services/cli/check/check.h"
#include "services/cli/verdict.h"

enum { MESSAGE_BYTES_MAX = 64 << 20 };

/* Reads the file and converts line ends to CRLF (a stored message may have LF): 0 or -1. */
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
    if (!whole) fprintf(stderr, "postbus: %s: cannot be read completely, or is larger than 64 MiB\n", path);
    return whole ? 0 : -1;
}

/* The message without a byte order mark, which some editors add, and without the "From " line of an
 * mbox file (RFC 4155). */
static struct slice mail_of(struct slice file) {
    if (slice_starts(file, SLICE("\xef\xbb\xbf"))) file = slice_skip(file, 3);
    if (!slice_starts(file, SLICE("From "))) return file;
    struct slice rest = slice_trim(slice_skip(file, strlen("From")));
    if (rest.n && rest.p[0] == ':')
        return file; /* "From :", an obsolete form of the field (RFC
                        5322 §4.5) */
    ptrdiff_t end = slice_find(file, '\n');
    return slice_skip(file, end < 0 ? file.n : (size_t)end + 1);
}

/* The worst of the results: temporary errors before failures. */
static int status_of(const struct trust_result *r, bool envelope) {
    bool temporary = r->dmarc.result == DMARC_TEMPERROR,
         failed = r->dmarc.result == DMARC_FAIL || r->dmarc.result == DMARC_PERMERROR;
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

/* Computes the digests that the message's signatures need; returns their number. */
static size_t hash_body(struct slice header, struct slice body, struct body_digest digests[BODY_HASHES_MAX]) {
    struct body_hash_kind kinds[BODY_HASHES_MAX];
    size_t count = body_hash_wanted(header, kinds);
    for (size_t i = 0; i < count; i++) {
        struct body_hash *h = body_hash_create(kinds[i]);
        body_hash_update(h, body);
        digests[i].kind = kinds[i];
        body_hash_finish(h, digests[i].digest, &digests[i].hashed);
    }
    return count;
}

/* The verdict as JSON, including a receiver's disposition. */
static json_t *verdict_of(const struct trust_result *r, bool envelope) {
    struct buf text = {0};
    struct json_put j = json_put_begin(&text);
    json_put_object(&j, NULL);
    trust_result_put(r, true, &j);
    json_put_end(&j, '}');
    json_t *o = json_loadb(text.data, text.n, 0, NULL);
    buf_free(&text);
    json_object_set_new(o, "disposition", json_string(trust_disposition_text(r->disposition)));
    json_object_set_new(o, "enhanced", json_string(r->enhanced));
    json_object_set_new(o, "reason", json_string(r->reason));
    if (!envelope) { /* these need an envelope */
        json_object_set_new(json_object_get(o, "spf"), "reason", json_string("no client and sender were given"));
        json_object_del(o, "spf_helo");
        json_object_del(o, "iprev");
    }
    return o;
}

int check_message(struct cli *c) {
    if (c->ip && !check_is_address(c->ip)) {
        fputs("postbus: --ip is not an IPv4 or IPv6 address\nusage: postbus check message FILE [--ip A --helo H "
              "--mail-from M] [--resolver ADDR:PORT] [--json]\n",
              stderr);
        return CLI_USAGE;
    }
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
    struct body_digest digests[BODY_HASHES_MAX];
    size_t body_at;
    struct slice mail = mail_of(buf_slice(&message)), header = header_block(mail, &body_at),
                 body = slice_skip(mail, body_at);
    struct arena *arena = arena_create();
    struct dkim_key_cache *cache = dkim_key_cache_create();
    struct trust_result r;
    bool envelope = c->ip && (c->helo || c->mail_from);
    struct trust_input in = {.client_ip = slice_of(c->ip),
                             .helo = slice_of(c->helo),
                             .mail_from = check_sender(c->mail_from),
                             .header = header,
                             .digest_count = hash_body(header, body, digests),
                             .digests = digests,
                             .authserv_id = SLICE("postbus-check"),
                             .now = time(NULL),
                             .explain = true};
    trust_verify(arena, &in, &dns, cache, &r);
    json_t *o = verdict_of(&r, envelope);
    if (!print_json(c, o)) {
        verdict_print(o);
        printf("a receiver would %s it%s%s %s\n",
               r.disposition == TRUST_TEMPFAIL ? "defer" : trust_disposition_text(r.disposition),
               *r.enhanced ? ": " : "", r.enhanced, r.reason);
    }
    json_decref(o);
    int status = status_of(&r, envelope);
    dkim_key_cache_destroy(cache);
    arena_destroy(arena);
    check_dns_destroy(d);
    buf_free(&message);
    return status;
}
