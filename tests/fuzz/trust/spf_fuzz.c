/* An SPF record that is whatever it is. Input: a byte that says how DNS answers for other names,
 * and the record; for each name that is asked, DNS says the same again. Whatever comes out is
 * bounded, and nothing of it can steer a terminal. */
#include <stdlib.h>

#include "libcommon/trust/spf/spf.h"

static struct trust_record txt[2], addresses[2], hosts[12];
static struct trust_answer text_answer, address_answer, host_answer, void_answer;
static unsigned char way;
static size_t questions;

static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    (void)ctx, (void)name;
    questions++;
    if (type == TRUST_TXT) return &text_answer;
    if (way & 1 && questions % 5 == 0) return NULL; /* not known yet */
    if (way & 2 && questions % 3 == 0) return &void_answer;
    return type == TRUST_A || type == TRUST_AAAA ? &address_answer : &host_answer;
}

static void check_printable(const char *text) {
    for (; *text; text++)
        if (*text < ' ' || *text >= 0x7f) abort();
}

static void check_verdict(const struct spf_verdict *v, int pending) {
    if (v->lookups > SPF_LOOKUPS_MAX + 1 || v->void_lookups > SPF_VOID_MAX + 1 || v->step_count > SPF_STEPS_MAX)
        abort();
    if (questions > 250) abort();
    if (pending) return;
    check_printable(v->reason);
    check_printable(v->mechanism);
    check_printable(v->record_domain);
    check_printable(v->domain);
    check_printable(v->explanation);
    for (size_t i = 0; i < v->step_count; i++) check_printable(v->steps[i]);
    if (!*v->reason) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    struct arena *arena = arena_create();
    struct trust_dns dns = {look_up, NULL};
    struct spf_verdict v;
    way = data[0];
    questions = 0;
    struct spf_query q = {.ip = way & 4 ? SLICE("192.0.2.1") : SLICE("2001:db8::1"),
                          .helo = SLICE("h.test"),
                          .sender = way & 8 ? SLICE("\"a b\"@c.test") : SLICE("\xc3\xa9@c.test"),
                          .receiver = SLICE("me.test"),
                          .explain = way & 16};
    txt[0].data = slice_make(data + 1, size - 1);
    txt[1].data = SLICE("other");
    addresses[0].data =
        way & 4 ? SLICE("\001\002\003\004") : SLICE("\001\002\003\004\001\002\003\004\001\002\003\004\001\002\003\004");
    addresses[1].data = SLICE("odd");
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        hosts[i] = (struct trust_record){(uint16_t)(i * 7 % 5), SLICE("x.test")};
    text_answer = (struct trust_answer){.status = TRUST_DNS_OK, .count = way & 32 ? 2 : 1, .records = txt};
    address_answer = (struct trust_answer){.status = TRUST_DNS_OK, .count = 2, .records = addresses};
    host_answer = (struct trust_answer){.status = TRUST_DNS_OK, .count = way & 64 ? 12 : 9, .records = hosts};
    void_answer = (struct trust_answer){.status = TRUST_DNS_NXDOMAIN};
    int pending = spf_check(arena, &q, &dns, &v);
    check_verdict(&v, pending);
    arena_destroy(arena);
    return 0;
}
