/* The messages: from ten customers of one mail provider, each with SPF, two DKIM signatures, an ARC
 * set of a mailing list that handed it on unchanged, and a DMARC policy; and the DNS records that
 * make all of it pass, as "name ttl class type data" lines. */
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/trust/arc/arc.h"
#include "tests/bench/verify/load.h"

enum { SENDERS = 10, BODY_LINE = 72 };

static const char CLIENT_IP[] = "192.0.2.10", HELO[] = "out.example.net";

struct keys {
    EVP_PKEY *first[SENDERS], *second[SENDERS], *sealer;
};

static void add_key_record(struct buf *zone, const char *selector, const char *domain, EVP_PKEY *key) {
    unsigned char *der = NULL, raw[32];
    struct buf b64 = {0};
    size_t n = sizeof raw;
    bool ed25519 = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
    if (ed25519) {
        EVP_PKEY_get_raw_public_key(key, raw, &n);
        base64_encode(slice_make(raw, n), &b64);
    } else {
        int length = i2d_PUBKEY(key, &der);
        base64_encode(slice_make(der, (size_t)length), &b64);
        OPENSSL_free(der);
    }
    buf_printf(zone, "%s._domainkey.%s. 3600 IN TXT \"v=DKIM1; k=%s; p=", selector, domain,
               ed25519 ? "ed25519" : "rsa");
    for (size_t at = 0; at < b64.n; at += 200)
        buf_printf(zone, "%s%.*s", at ? "\" \"" : "", SLICE_FMT(slice_head(slice_skip(buf_slice(&b64), at), 200)));
    buf_add_str(zone, "\"\n");
    buf_free(&b64);
}

static void make_zone(struct buf *zone, struct keys *keys, bool second_ed25519) {
    char domain[64];
    buf_printf(zone,
               "out.example.net. 3600 IN A %s\n10.2.0.192.in-addr.arpa. 3600 IN PTR out.example.net.\n"
               "_spf.example.net. 3600 IN TXT \"v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/25 ip4:192.0.2.0/28 ~all\"\n"
               "out.example.net. 3600 IN TXT \"v=spf1 a -all\"\n",
               CLIENT_IP);
    keys->sealer = EVP_RSA_gen(2048);
    add_key_record(zone, "arc", "lists.example.org", keys->sealer);
    for (int i = 0; i < SENDERS; i++) {
        snprintf(domain, sizeof domain, "customer%d.example.net", i);
        keys->first[i] = EVP_RSA_gen(2048);
        keys->second[i] = second_ed25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_RSA_gen(2048);
        add_key_record(zone, "one", domain, keys->first[i]);
        add_key_record(zone, "two", domain, keys->second[i]);
        buf_printf(zone,
                   "%s. 3600 IN TXT \"v=spf1 mx include:_spf.example.net -all\"\n%s. 3600 IN MX 10 mx.%s.\n%s. 3600 IN "
                   "A 198.51.100.7\nmx.%s. 3600 IN A 198.51.100.7\n"
                   "_dmarc.%s. 3600 IN TXT \"v=DMARC1; p=reject; sp=reject; adkim=r; aspf=r; rua=mailto:dmarc@%s\"\n",
                   domain, domain, domain, domain, domain, domain, domain);
    }
}

/* Plausible text, the same for the same number. */
static void add_body(struct buf *out, unsigned number, size_t size) {
    static const char *const words[] = {"a",  "report", "on",  "letters", "that", "were", "handed", "over",
                                        "by", "those",  "who", "carry",   "them", "each", "with",   "seals"};
    size_t begin = out->n, line = 0;
    while (out->n - begin + 2 < size) {
        number = number * 1664525u + 1013904223u;
        const char *word = words[number >> 28];
        buf_printf(out, "%s%s", word, (number >> 20 & 15) == 0 ? ".  " : " "); /* white space for the canonical forms */
        line += strlen(word) + 1;
        if (line >= BODY_LINE) {
            buf_add_str(out, "\r\n");
            line = 0;
        }
    }
    buf_add_str(out, "\r\n");
}

static int make_message(struct buf *out, const struct keys *keys, int number, int size) {
    struct buf body = {0}, header = {0}, signatures = {0}, seal = {0};
    unsigned char relaxed[BODY_HASH_BYTES];
    uint64_t hashed;
    char when[CLOCK_TEXT_BYTES], domain[64];
    int64_t now = clock_wall_ms();
    int sender = number % SENDERS, failed = 0;
    snprintf(domain, sizeof domain, "customer%d.example.net", sender);
    clock_rfc5322(now, when);
    buf_printf(
        &header,
        "Received: from inside.%s (inside.%s [203.0.113.9])\r\n\tby out.example.net with ESMTPSA id 01K%012d\r\n\tfor "
        "<reader%d@bench.test>; %s\r\n"
        "Received: from [10.1.2.3] (unknown [198.51.100.99])\r\n\tby inside.%s with ESMTPSA id 7f%08d; %s\r\n"
        "From: \"Somebody of customer %d\" <somebody@%s>\r\nTo: Reader <reader%d@bench.test>\r\nSubject: What was said "
        "about letter %d, and\r\n what was "
        "answered\r\n"
        "Date: %s\r\nMessage-ID: <%d.letters@%s>\r\nIn-Reply-To: <%d.before@bench.test>\r\nReferences: "
        "<1.first@bench.test>\r\n <%d.before@bench.test>\r\n"
        "List-Id: Letters <letters.lists.example.org>\r\nList-Unsubscribe: <https://lists.example.org/leave/%d>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
        "7bit\r\nUser-Agent: A mail client 1.0\r\n",
        domain, domain, number, number, when, domain, number, when, sender, domain, number, number, when, number,
        domain, number, number, number);
    add_body(&body, (unsigned)number * 2654435761u + 1, (size_t)size > header.n ? (size_t)size - header.n : 100);
    struct body_hash *h = body_hash_create((struct body_hash_kind){.relaxed = true, .length = -1});
    body_hash_update(h, buf_slice(&body));
    body_hash_finish(h, relaxed, &hashed);
    failed |= dkim_sign(buf_slice(&header), relaxed, slice_of(domain), SLICE("one"), keys->first[sender], now / 1000,
                        &signatures);
    failed |= dkim_sign(buf_slice(&header), relaxed, slice_of(domain), SLICE("two"), keys->second[sender], now / 1000,
                        &signatures);
    buf_add_slice(&signatures, buf_slice(&header));
    struct arc_verdict none = {.result = ARC_NONE};
    failed |= arc_seal(buf_slice(&signatures), relaxed, &none, SLICE("lists.example.org"),
                       SLICE(" spf=pass smtp.mailfrom=example.net; dkim=pass; dmarc=pass"), SLICE("lists.example.org"),
                       SLICE("arc"), keys->sealer, now / 1000, &seal);
    buf_add_slice(out, buf_slice(&seal));
    buf_add_slice(out, buf_slice(&signatures));
    buf_add_str(out, "\r\n");
    buf_add_slice(out, buf_slice(&body));
    buf_free(&body);
    buf_free(&header);
    buf_free(&signatures);
    buf_free(&seal);
    return failed;
}

static int write_file(const char *directory, const char *name, struct slice bytes) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes.p, 1, bytes.n, file) != bytes.n || fclose(file) != 0) {
        perror(path);
        return -1;
    }
    return 0;
}

int corpus_make(const char *directory, int count, int size, bool second_ed25519) {
    struct keys keys = {0};
    struct buf zone = {0}, list = {0}, text = {0};
    make_zone(&zone, &keys, second_ed25519);
    int failed = write_file(directory, "records", buf_slice(&zone));
    for (int i = 0; i < count && !failed; i++) {
        char name[32];
        snprintf(name, sizeof name, "%05d.eml", i);
        buf_reset(&text);
        failed = make_message(&text, &keys, i, size) || write_file(directory, name, buf_slice(&text));
        buf_printf(&list, "%s %s %s bounces@customer%d.example.net\n", name, CLIENT_IP, HELO, i % SENDERS);
    }
    failed = failed || write_file(directory, "list", buf_slice(&list));
    for (int i = 0; i < SENDERS; i++) {
        EVP_PKEY_free(keys.first[i]);
        EVP_PKEY_free(keys.second[i]);
    }
    EVP_PKEY_free(keys.sealer);
    buf_free(&zone);
    buf_free(&list);
    buf_free(&text);
    return failed ? -1 : 0;
}
