#include "libcommon/trust/trust.h"

#include <arpa/inet.h>

#include "libcommon/mail/header.h"

enum { DROPS_MAX = 60, NAMES_MAX = 10 };

const char *trust_disposition_text(enum trust_disposition d) {
    static const char *const words[] = {"accept", "quarantine", "reject", "tempfail"};
    return words[d];
}

/* "1.2.0.192.in-addr.arpa" of a textual address; false when it is none. mapped IPv4 counts as IPv4. */
static bool reverse_name(struct slice ip, struct buf *out, unsigned char address[16], bool *v6) {
    char text[64];
    if (ip.n >= sizeof text) return false;
    memcpy(text, ip.p, ip.n);
    text[ip.n] = 0;
    *v6 = inet_pton(AF_INET, text, address) != 1;
    if (*v6 && inet_pton(AF_INET6, text, address) != 1) return false;
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (*v6 && memcmp(address, mapped, 12) == 0) {
        *v6 = false;
        memmove(address, address + 12, 4);
    }
    if (*v6)
        for (int i = 15; i >= 0; i--) buf_printf(out, "%x.%x.", address[i] & 15, address[i] >> 4);
    else
        for (int i = 3; i >= 0; i--) buf_printf(out, "%d.", address[i]);
    buf_add_str(out, *v6 ? "ip6.arpa" : "in-addr.arpa");
    return true;
}

/* The client's name, if one of its PTR names leads back to it (RFC 8601 §3). */
static int check_iprev(struct arena *arena, const struct trust_input *in, const struct trust_dns *dns, struct trust_result *out) {
    unsigned char address[16];
    bool v6, pending = false;
    struct buf name = {0};
    out->iprev = IPREV_PERMERROR;
    out->client_name = "";
    if (!reverse_name(in->client_ip, &name, address, &v6)) return TRUST_DONE;
    const struct trust_answer *a = dns->lookup(dns->ctx, buf_slice(&name), TRUST_PTR);
    buf_free(&name);
    if (!a) return TRUST_PENDING;
    out->iprev = a->status == TRUST_DNS_FAILED ? IPREV_TEMPERROR : IPREV_FAIL;
    for (size_t i = 0; i < a->count && i < NAMES_MAX && a->status == TRUST_DNS_OK; i++) {
        const struct trust_answer *back = dns->lookup(dns->ctx, a->records[i].data, v6 ? TRUST_AAAA : TRUST_A);
        if (!back) {
            pending = true;
            continue;
        }
        for (size_t k = 0; k < back->count && back->status == TRUST_DNS_OK; k++)
            if (out->iprev != IPREV_PASS && back->records[k].data.n == (v6 ? 16u : 4u) && memcmp(back->records[k].data.p, address, v6 ? 16 : 4) == 0) {
                out->iprev = IPREV_PASS;
                out->client_name = arena_copy(arena, a->records[i].data);
            }
    }
    return pending && out->iprev != IPREV_PASS ? TRUST_PENDING : TRUST_DONE;
}

/* The domain of the one From address; empty when there are none or several of different domains (RFC 7489 §6.6.1). */
static struct slice from_domain(struct slice header) {
    struct header_field f;
    struct slice domain = SLICE("");
    if (header_count(header, "From") != 1 || !header_find(header, "From", &f)) return domain;
    bool quote = false;
    int comment = 0;
    for (size_t i = 0; i < f.value.n; i++) { /* every "@domain" outside quotes and comments */
        char c = f.value.p[i];
        if (c == '\\')
            i++;
        else if (c == '"' && !comment)
            quote = !quote;
        else if (c == '(' && !quote)
            comment++;
        else if (c == ')' && comment)
            comment--;
        else if (c == '@' && !quote && !comment) {
            size_t n = i + 1;
            while (n < f.value.n && !strchr(" \t\r\n>,;()<\"", f.value.p[n])) n++;
            struct slice found = slice_make(f.value.p + i + 1, n - i - 1);
            if (domain.n && !slice_equal_nocase(domain, found)) return SLICE("");
            domain = found;
            i = n - 1;
        }
    }
    if (domain.n && domain.p[domain.n - 1] == '.') domain.n--;
    return domain;
}

/* s behind the white space and comments it begins with (CFWS, RFC 5322 §3.2.2). */
static struct slice without_comments(struct slice s) {
    for (s = slice_trim(s); s.n && s.p[0] == '('; s = slice_trim(s)) {
        int depth = 0;
        size_t i = 0;
        for (; i < s.n; i++) {
            if (s.p[i] == '\\')
                i++;
            else if (s.p[i] == '(')
                depth++;
            else if (s.p[i] == ')' && --depth == 0)
                break;
        }
        s = slice_skip(s, i + 1);
    }
    return s;
}

/* Fields that came with the message and claim to be our verdict: they go (RFC 8601 §5, §4.1). */
static void find_foreign(struct arena *arena, const struct trust_input *in, struct trust_result *out) {
    struct header_field f;
    size_t at = 0;
    out->drops = arena_alloc(arena, DROPS_MAX * sizeof *out->drops);
    while (header_next(in->header, &at, &f) == 1) {
        if (!slice_is_nocase(f.name, "Authentication-Results")) continue;
        struct slice first = without_comments(f.value);
        size_t n = 0;
        while (n < first.n && !strchr(" \t\r\n(;", first.p[n])) n++;
        if (!slice_equal_nocase(slice_head(first, n), in->authserv_id)) continue;
        if (out->drop_count == DROPS_MAX) { /* nobody sends so many in good faith */
            out->disposition = TRUST_REJECT;
            out->enhanced = "5.7.1";
            out->reason = "the message carries too many forged Authentication-Results fields";
            return;
        }
        out->drops[out->drop_count++] = (struct trust_drop){f.offset, f.raw.n};
    }
}

static void decide(struct trust_result *out) {
    out->disposition = TRUST_ACCEPT;
    out->enhanced = out->reason = "";
    if (out->dmarc.result == DMARC_TEMPERROR && out->dmarc.policy != DMARC_POLICY_NONE) {
        out->disposition = TRUST_TEMPFAIL; /* never a guess: it might have passed */
        out->enhanced = "4.7.0";
        out->reason = "the sender cannot be verified now: DNS gave no answer; try again";
    } else if (out->dmarc.result == DMARC_FAIL && out->dmarc.policy == DMARC_POLICY_REJECT) {
        out->disposition = TRUST_REJECT;
        out->enhanced = "5.7.1"; /* RFC 7489 §10.3 */
        out->reason = "the sender could not be proven: the From domain's DMARC policy is reject, and neither DKIM nor SPF passed for it";
    } else if (out->dmarc.result == DMARC_FAIL && out->dmarc.policy == DMARC_POLICY_QUARANTINE) {
        out->disposition = TRUST_QUARANTINE;
    }
}

int trust_verify(struct arena *arena, const struct trust_input *in, const struct trust_dns *dns, struct dkim_key_cache *cache, struct trust_result *out) {
    struct spf_query spf = {.ip = in->client_ip, .helo = in->helo, .sender = in->mail_from, .receiver = in->authserv_id, .now = in->now};
    *out = (struct trust_result){0};
    /* each asks for what it needs before any of them waits: what can be fetched together is */
    int pending = spf_check(arena, &spf, dns, &out->spf);
    pending |= dkim_verify(arena, in->header, in->digest_count, in->digests, dns, cache, in->now, &out->dkim_count, &out->dkim);
    pending |= arc_verify(arena, in->header, in->digest_count, in->digests, dns, cache, &out->arc);
    pending |= check_iprev(arena, in, dns, out);
    pending |= dmarc_check(arena, from_domain(in->header), &out->spf, out->dkim_count, out->dkim, dns, in->sampled, &out->dmarc);
    if (pending) return TRUST_PENDING;
    decide(out);
    find_foreign(arena, in, out);
    return TRUST_DONE;
}

/* Text in a header's quoted string or comment: nothing that could end it or the line. */
static void add_safe(struct buf *out, struct slice s) {
    for (size_t i = 0; i < s.n && i < 500; i++) {
        unsigned char c = (unsigned char)s.p[i];
        buf_add_char(out, c < ' ' || c == 0x7f || strchr("\"\\();", c) ? '?' : (char)c);
    }
}

static const char *const iprev_words[] = {"pass", "fail", "temperror", "permerror"};

void trust_write_headers(const struct trust_input *in, const struct trust_result *r, struct buf *out) {
    buf_add_str(out, "Authentication-Results: ");
    add_safe(out, in->authserv_id);
    buf_printf(out, ";\r\n\tspf=%s (", spf_result_text(r->spf.result));
    add_safe(out, slice_of(r->spf.reason));
    buf_add_str(out, in->mail_from.n ? ") smtp.mailfrom=" : ") smtp.helo=");
    add_safe(out, in->mail_from.n ? in->mail_from : in->helo);
    if (!r->dkim_count) buf_add_str(out, ";\r\n\tdkim=none");
    for (size_t i = 0; i < r->dkim_count; i++) {
        const struct dkim_verdict *v = &r->dkim[i];
        buf_printf(out, ";\r\n\tdkim=%s (", dkim_result_text(v->result));
        add_safe(out, slice_of(v->reason ? v->reason : ""));
        buf_add_str(out, ")");
        if (!v->signature.d.n) continue;
        buf_add_str(out, " header.d=");
        add_safe(out, v->signature.d);
        buf_add_str(out, " header.s=");
        add_safe(out, v->signature.s);
        buf_add_str(out, " header.a=");
        add_safe(out, v->signature.a);
        buf_add_str(out, " header.b=\"");
        add_safe(out, slice_head(v->signature.b, 8)); /* RFC 6008 §4: which of several */
        buf_add_str(out, "\"");
    }
    buf_printf(out, ";\r\n\tdmarc=%s (p=%s", dmarc_result_text(r->dmarc.result), dmarc_policy_text(r->dmarc.policy));
    buf_add_str(out, ") header.from=");
    add_safe(out, slice_of(*r->dmarc.from_domain ? r->dmarc.from_domain : "none"));
    buf_printf(out, ";\r\n\tarc=%s", arc_result_text(r->arc.result));
    if (*r->arc.sealer) {
        buf_add_str(out, " (newest seal of ");
        add_safe(out, slice_of(r->arc.sealer));
        buf_add_str(out, ")");
    }
    buf_printf(out, ";\r\n\tiprev=%s policy.iprev=", iprev_words[r->iprev]);
    bool v6 = slice_find(in->client_ip, ':') >= 0;
    if (v6) buf_add_char(out, '"');
    add_safe(out, in->client_ip);
    if (v6) buf_add_char(out, '"');
    buf_printf(out, "\r\nReceived-SPF: %s (", spf_result_text(r->spf.result));
    add_safe(out, in->authserv_id);
    buf_add_str(out, ": ");
    add_safe(out, slice_of(r->spf.reason));
    buf_add_str(out, ")\r\n\tclient-ip=");
    if (v6) buf_add_char(out, '"');
    add_safe(out, in->client_ip);
    if (v6) buf_add_char(out, '"');
    buf_add_str(out, "; envelope-from=\"");
    add_safe(out, in->mail_from);
    buf_add_str(out, "\"; helo=");
    add_safe(out, in->helo);
    buf_add_str(out, ";\r\n");
}

/* JSON text of bytes that need not be UTF-8. */
static json_t *text(struct slice s) {
    json_t *t = json_stringn(s.p ? s.p : "", s.n);
    return t ? t : json_string("(not UTF-8)");
}

json_t *trust_result_json(const struct trust_result *r, bool steps) {
    json_t *dkim = json_array();
    for (size_t i = 0; i < r->dkim_count; i++) {
        const struct dkim_verdict *v = &r->dkim[i];
        json_array_append_new(dkim, json_pack("{s:s,s:s,s:o,s:o,s:o,s:i,s:b}", "result", dkim_result_text(v->result), "reason", v->reason ? v->reason : "",
                                              "domain", text(v->signature.d), "selector", text(v->signature.s), "algorithm", text(v->signature.a), "bits",
                                              v->bits, "testing", v->testing));
    }
    json_t *spf =
        json_pack("{s:s,s:o,s:o,s:o,s:i,s:i}", "result", spf_result_text(r->spf.result), "reason", text(slice_of(r->spf.reason)), "domain",
                  text(slice_of(r->spf.domain)), "mechanism", text(slice_of(r->spf.mechanism)), "lookups", r->spf.lookups, "void_lookups", r->spf.void_lookups);
    if (*r->spf.explanation) json_object_set_new(spf, "explanation", text(slice_of(r->spf.explanation)));
    if (steps) {
        json_t *list = json_array();
        for (size_t i = 0; i < r->spf.step_count; i++) json_array_append_new(list, text(slice_of(r->spf.steps[i])));
        json_object_set_new(spf, "steps", list);
    }
    json_t *dmarc = json_pack("{s:s,s:s,s:s,s:o,s:o,s:b,s:b}", "result", dmarc_result_text(r->dmarc.result), "policy", dmarc_policy_text(r->dmarc.policy),
                              "reason", r->dmarc.reason, "from", text(slice_of(r->dmarc.from_domain)), "record_domain", text(slice_of(r->dmarc.record_domain)),
                              "spf_aligned", r->dmarc.spf_aligned, "dkim_aligned", r->dmarc.dkim_aligned);
    json_t *arc = json_pack("{s:s,s:s,s:i,s:o}", "cv", arc_result_text(r->arc.result), "reason", r->arc.reason, "sets", (int)r->arc.sets, "sealer",
                            text(slice_of(r->arc.sealer)));
    json_t *iprev = json_pack("{s:s,s:o}", "result", iprev_words[r->iprev], "name", text(slice_of(r->client_name)));
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "spf", spf, "dkim", dkim, "dmarc", dmarc, "arc", arc, "iprev", iprev);
}
