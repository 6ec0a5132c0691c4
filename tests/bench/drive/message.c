#include <stdio.h>
#include <string.h>
#include <time.h>

#include "libcommon/base/clock.h"
#include "tests/bench/drive/drive.h"

enum { LINE_COLUMNS = 66, TAIL_BYTES = 60 };

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint32_t next(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void add_letters(struct buf *out, uint32_t *random, int count) {
    for (int i = 0; i < count; i++) buf_add_char(out, letters[next(random) & 63]);
}

/* Lines of words up to about `until` bytes of the whole. */
static void add_words(struct buf *out, uint32_t *random, size_t until) {
    static const char *const words[] = {"the",     "of",     "please", "meeting", "schedule", "we",
                                        "draft",   "and",    "have",   "order",   "invoice",  "station",
                                        "between", "before", "kind",   "regards"};
    size_t column = 0;
    while (out->n < until) {
        const char *word = words[next(random) & 15];
        buf_printf(out, "%s%u", word, next(random) & 0xfff);
        column += strlen(word) + 4;
        buf_add_str(out, column > LINE_COLUMNS ? "\r\n" : " ");
        if (column > LINE_COLUMNS) column = 0;
    }
    buf_add_str(out, "\r\n");
}

/* What a message looks like after two hops: trace fields, a signature (of a domain whose key cannot
 * be found: it is looked for, and the body is hashed for it), text and HTML. */
void message_write(struct buf *out, const char *from, const char *to, int size, int number) {
    char when[CLOCK_TEXT_BYTES];
    long long now = clock_wall_ms();
    uint32_t random = (uint32_t)number * 2654435761u + (uint32_t)now;
    clock_rfc5322(now, when);
    buf_reset(out);
    buf_printf(
        out,
        "Received: from mx%u.example.net (mx%u.example.net [192.0.2.%u])\r\n\tby relay.example.net with ESMTPS id "
        "%08X%04X\r\n\tfor <%s>; %s\r\n",
        next(&random) % 9, next(&random) % 9, next(&random) % 250, next(&random), number & 0xffff, to, when);
    buf_printf(out,
               "Received: from [198.51.100.%u] (helo=desk)\r\n\tby mx.example.net with esmtpsa (TLS1.3)\r\n\tid "
               "1%06X-00%04X-2x; %s\r\n",
               next(&random) % 250, next(&random) & 0xffffff, next(&random) & 0xffff, when);
    buf_add_str(out, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=bench;\r\n\t"
                     "h=from:to:subject:date:message-id:mime-version; bh=");
    add_letters(out, &random, 43);
    buf_add_str(out, "=;\r\n\tb=");
    for (int i = 0; i < 3; i++) {
        add_letters(out, &random, 56);
        buf_add_str(out, i < 2 ? "\r\n\t " : "\r\n");
    }
    buf_printf(out,
               "From: Bench <%s>\r\nTo: <%s>\r\nSubject: message %d of the bench\r\nDate: %s\r\nMessage-ID: "
               "<%d.%lld@load.test>\r\n"
               "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"=_%lld\"\r\nUser-Agent: "
               "drive\r\n\r\n",
               from, to, number, when, number, now, now);
    size_t whole = (size_t)size;
    buf_printf(out, "--=_%lld\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", now);
    add_words(out, &random, whole / 2);
    buf_printf(out, "--=_%lld\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>\r\n", now);
    add_words(out, &random, whole > TAIL_BYTES ? whole - TAIL_BYTES : 0);
    buf_printf(out, "</p></body></html>\r\n--=_%lld--\r\n.\r\n", now);
}
