/* verifier.txt: the TXT records of a name, for services without a resolver (the reporter checks
 * whether a domain accepts reports). */
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/member.h"
#include "libcommon/mail/domain.h"
#include "services/verifier/verifier.h"

enum { TXT_RECORDS_MAX = 32, TXT_BYTES_MAX = 4096 };

struct txt {
    struct verifier *verifier;
    struct bus_call *call;
};

static void on_answer(void *ctx, const struct answer *a) {
    struct txt *t = ctx;
    static const char *const results[] = {
        [ANSWER_OK] = "ok", [ANSWER_NODATA] = "nodata", [ANSWER_NXDOMAIN] = "nxdomain", [ANSWER_FAILED] = "failed"};
    static const char *const states[] = {
        [ANSWER_INSECURE] = "insecure", [ANSWER_SECURE] = "secure", [ANSWER_BOGUS] = "bogus"};
    json_t *records = json_array();
    for (size_t i = 0; a->status == ANSWER_OK && i < a->count && i < TXT_RECORDS_MAX;
         i++) { /* a record that is not UTF-8 or too long is of no use to any requester */
        json_t *text =
            a->records[i].data.n <= TXT_BYTES_MAX ? json_stringn(a->records[i].data.p, a->records[i].data.n) : NULL;
        if (text) json_array_append_new(records, text);
    }
    bus_answer(t->call, json_pack("{s:s,s:s,s:o}", "result", results[a->status], "dnssec", states[a->security],
                                  "records", records));
    verifier_end(t->verifier);
    free(t);
}

static void on_txt(void *ctx, struct bus_call *call, const json_t *ask) {
    struct verifier *v = ctx;
    char name[DOMAIN_BYTES];
    if (domain_normalise(member_slice(ask, "name"), name)) {
        bus_refuse(call, "invalid", "not a domain name");
        return;
    }
    if (!verifier_begin(v, call)) return;
    struct txt *t = memory_alloc(sizeof *t);
    *t = (struct txt){v, call};
    resolver_ask(v->resolver, slice_of(name), TYPE_TXT, on_answer, t);
}

void txt_serve(struct verifier *v) { bus_serve(v->worker->bus, "txt", on_txt, v); }
