/* Authentication-Results (RFC 8601) and Received-SPF (RFC 7208 §9.1): ours written, foreign ones in our name found. */
#include "libcommon/mail/header.h"
#include "libcommon/trust/trust_private.h"

enum { DROPS_MAX = 60 };

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

void results_find_foreign(struct arena *arena, const struct trust_input *in, struct trust_result *out) {
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

/* Text in a header's quoted string or comment: nothing that could end it or the line. */
static void add_safe(struct buf *out, struct slice s) {
    for (size_t i = 0; i < s.n && i < 500; i++) {
        unsigned char c = (unsigned char)s.p[i];
        buf_add_char(out, c < ' ' || c == 0x7f || strchr("\"\\();", c) ? '?' : (char)c);
    }
}

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
    buf_printf(out, ";\r\n\tiprev=%s policy.iprev=", iprev_text(r));
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
