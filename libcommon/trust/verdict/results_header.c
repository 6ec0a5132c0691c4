/* Authentication-Results (RFC 8601, for UTF-8 RFC 8616 §6) and Received-SPF (RFC 7208 §9.1),
 * written for this site. Every value is written in the grammar of RFC 8601 §2.2: as a token, an
 * address, or a quoted string. */
#include <utf8proc.h>

#include "libcommon/mail/domain.h"
#include "libcommon/trust/verdict/trust_private.h"

enum { LINE_BYTES = 78, VALUE_BYTES_MAX = 320, TEXT_BYTES_MAX = 250, SIGNATURE_PREFIX = 8 };

/* The field being written, and the start of its last line, for folding. */
struct writer {
    struct buf *out;
    size_t line;
    bool utf8; /* may be written */
};

static void fold(struct writer *w) {
    buf_add_str(w->out, "\r\n\t");
    w->line = w->out->n - 1;
}

/* Adds a piece after a space, or on a new line when this one would be too long. */
static void add_piece(struct writer *w, struct slice piece) {
    if (w->out->n - w->line + 1 + piece.n > LINE_BYTES)
        fold(w);
    else
        buf_add_char(w->out, ' ');
    buf_add_slice(w->out, piece);
}

/* The bytes of the UTF-8 character at s, 1 for ASCII, 0 when it is not UTF-8. */
static size_t character_bytes(struct slice s) {
    utf8proc_int32_t code;
    if ((unsigned char)s.p[0] < 0x80) return 1;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)(s.n > 4 ? 4 : s.n), &code);
    return n < 2 || code < 0xa0 ? 0 : (size_t)n; /* C1 controls are not text */
}

/* Text of a quoted string or comment: `special` bytes are escaped with a backslash; bytes that are
 * not allowed in a header become "?". */
static void add_text(const struct writer *w, struct buf *out, struct slice s, size_t max, const char *special) {
    s = slice_head(s, max);
    while (s.n) {
        size_t n = character_bytes(s);
        bool plain = n == 1 && s.p[0] >= ' ' && s.p[0] < 0x7f;
        if (plain && strchr(special, s.p[0])) buf_add_char(out, '\\');
        if (plain || (n > 1 && w->utf8))
            buf_add(out, s.p, n);
        else
            buf_add_char(out, '?');
        s = slice_skip(s, n ? n : 1);
    }
}

static bool is_token_byte(char c) { return c > ' ' && c < 0x7f && !strchr("()<>@,;:\\\"/[]?=", c); } /* RFC 2045 §5.1 */

/* token, or [ [ token ] "@" ] token: an address whose parts are dot-atoms and domain names is
 * such. */
static bool is_plain(struct slice s) {
    size_t signs = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '@' && i + 1 < s.n)
            signs++;
        else if (!is_token_byte(s.p[i]))
            return false;
    }
    if (!s.n || signs > 1) return false;
    if (!signs) return true;
    /* beside "@" the grammar allows only names, which have fewer characters than tokens */
    for (size_t i = 0; i < s.n; i++)
        if (strchr("!#$%&'*+^`{|}~", s.p[i]) && (ptrdiff_t)i > slice_find(s, '@')) return false;
    return s.p[0] != '.' && !memmem(s.p, s.n, "..", 2) && !memmem(s.p, s.n, ".@", 2);
}

/* One value. A name or address in UTF-8 is written as such only where this is allowed; otherwise
 * its domain is written as A-labels. */
static void add_value(const struct writer *w, struct buf *out, struct slice s) {
    char domain[DOMAIN_BYTES];
    struct buf text = {0};
    s = slice_head(s, VALUE_BYTES_MAX);
    bool ascii = true;
    for (size_t i = 0; i < s.n; i++) ascii &= (unsigned char)s.p[i] < 0x80;
    if (!ascii && !w->utf8) {
        size_t at = (size_t)(slice_find_last(s, '@') + 1);
        if (domain_normalise(slice_skip(s, at), domain) == 0) {
            buf_add_slice(&text, slice_head(s, at));
            buf_add_str(&text, domain);
            s = buf_slice(&text);
        }
    }
    if (is_plain(s)) {
        buf_add_slice(out, s);
    } else {
        buf_add_char(out, '"');
        add_text(w, out, s, VALUE_BYTES_MAX * 2, "\"\\");
        buf_add_char(out, '"');
    }
    buf_free(&text);
}

/* " smtp.mailfrom=value" */
static void add_property(struct writer *w, const char *name, struct slice value) {
    struct buf piece = {0};
    buf_printf(&piece, "%s=", name);
    add_value(w, &piece, value);
    add_piece(w, buf_slice(&piece));
    buf_free(&piece);
}

/* ";" and "method=result" on a line of its own, with the reason when the result is not a
 * success. */
static void add_result(struct writer *w, const char *method, const char *result, const char *reason) {
    struct buf piece = {0};
    buf_add_char(w->out, ';');
    fold(w);
    buf_printf(w->out, "%s=%s", method, result);
    if (reason && *reason && strcmp(result, "pass") != 0) {
        buf_add_str(&piece, "reason=\"");
        add_text(w, &piece, slice_of(reason), TEXT_BYTES_MAX, "\"\\");
        buf_add_char(&piece, '"');
        add_piece(w, buf_slice(&piece));
    }
    buf_free(&piece);
}

static void add_comment(struct writer *w, const char *comment) {
    struct buf piece = {0};
    buf_add_char(&piece, '(');
    add_text(w, &piece, slice_of(comment), TEXT_BYTES_MAX, "()\\");
    buf_add_char(&piece, ')');
    add_piece(w, buf_slice(&piece));
    buf_free(&piece);
}

/* §2.7.2: smtp.mailfrom; smtp.helo for the HELO identity, which also replaces a null reverse-path
 * (RFC 7208 §2.4) */
static void add_spf(struct writer *w, const struct trust_input *in, const struct trust_result *r) {
    add_result(w, "spf", spf_result_text(r->spf.result), r->spf.reason);
    add_property(w, in->mail_from.n ? "smtp.mailfrom" : "smtp.helo", in->mail_from.n ? in->mail_from : in->helo);
    if (!r->helo_checked) return;
    add_result(w, "spf", spf_result_text(r->spf_helo.result), r->spf_helo.reason);
    add_property(w, "smtp.helo", in->helo);
}

static void add_dkim(struct writer *w, const struct trust_result *r) {
    if (!r->dkim_count) add_result(w, "dkim", "none", "");
    for (size_t i = 0; i < r->dkim_count; i++) {
        const struct dkim_verdict *v = &r->dkim[i];
        const struct dkim_signature *s = &v->signature;
        add_result(w, "dkim", dkim_result_text(v->result), v->reason);
        if (v->testing) add_comment(w, "the key is in testing");
        if (s->d.n) add_property(w, "header.d", s->d);
        if (s->i.n) add_property(w, "header.i", s->i);
        if (s->s.n) add_property(w, "header.s", s->s);
        if (s->a.n) add_property(w, "header.a", s->a);
        char prefix[SIGNATURE_PREFIX];
        size_t n = 0;
        for (size_t k = 0; k < s->b.n && n < sizeof prefix; k++) /* it may contain folds */
            if (s->b.p[k] > ' ') prefix[n++] = s->b.p[k];
        if (n)
            add_property(w, "header.b", slice_make(prefix, n)); /* RFC 6008 §4: identifies one of several signatures */
    }
}

/* The policy and the disposition are in a comment, as in other implementations, because no policy.*
 * properties are registered for them. */
static void add_dmarc(struct writer *w, const struct trust_result *r) {
    const struct dmarc_verdict *d = &r->dmarc;
    char comment[128];
    add_result(w, "dmarc", dmarc_result_text(d->result), d->reason);
    if (d->has_record) {
        snprintf(comment, sizeof comment, "p=%s dis=%s%s%s", dmarc_policy_text(d->policy),
                 dmarc_policy_text(r->dmarc_disposition), r->override_count ? " override=" : "",
                 r->override_count ? r->overrides[0].type : "");
        add_comment(w, comment);
    }
    if (*d->from_domain) add_property(w, "header.from", slice_of(d->from_domain));
}

/* RFC 8617 §10.2: header.oldest-pass, smtp.remote-ip */
static void add_arc(struct writer *w, const struct trust_input *in, const struct trust_result *r) {
    char number[24];
    add_result(w, "arc", arc_result_text(r->arc.result), r->arc.result == ARC_FAIL ? r->arc.reason : "");
    if (r->arc.result == ARC_PASS) {
        snprintf(number, sizeof number, "%zu", r->arc.oldest_pass);
        add_property(w, "header.oldest-pass", slice_of(number));
    }
    if (in->client_ip.n) add_property(w, "smtp.remote-ip", in->client_ip);
}

/* key "=" ( dot-atom / quoted-string ), quoted unless it is a plain word. */
static void add_pair(struct writer *w, const char *key, struct slice value) {
    struct buf piece = {0};
    bool plain = value.n > 0;
    for (size_t i = 0; i < value.n; i++) plain &= is_token_byte(value.p[i]);
    plain = plain && value.p[0] != '.' && value.p[value.n - 1] != '.' && !memmem(value.p, value.n, "..", 2);
    buf_printf(&piece, "%s=", key);
    if (!plain) buf_add_char(&piece, '"');
    add_text(w, &piece, value, VALUE_BYTES_MAX, plain ? "" : "\"\\");
    buf_add_str(&piece, plain ? ";" : "\";");
    add_piece(w, buf_slice(&piece));
    buf_free(&piece);
}

static void write_received_spf(const struct trust_input *in, const struct trust_result *r, struct buf *out) {
    struct writer w = {out, out->n, in->smtputf8};
    bool error = r->spf.result == SPF_TEMPERROR || r->spf.result == SPF_PERMERROR;
    buf_printf(out, "Received-SPF: %s", spf_result_text(r->spf.result));
    add_comment(&w, r->spf.reason);
    add_pair(&w, "receiver", in->authserv_id);
    add_pair(&w, "client-ip", in->client_ip);
    add_pair(&w, "identity", in->mail_from.n ? SLICE("mailfrom") : SLICE("helo"));
    add_pair(&w, "envelope-from", in->mail_from);
    add_pair(&w, "helo", in->helo);
    if (*r->spf.mechanism) add_pair(&w, "mechanism", slice_of(r->spf.mechanism));
    if (error) add_pair(&w, "problem", slice_of(r->spf.reason));
    buf_add_str(out, "\r\n");
}

void trust_write_headers(const struct trust_input *in, const struct trust_result *r, struct buf *out) {
    struct writer w = {out, out->n, in->smtputf8};
    buf_add_str(out, "Authentication-Results: ");
    add_value(&w, out, in->authserv_id);
    add_spf(&w, in, r);
    add_dkim(&w, r);
    add_dmarc(&w, r);
    add_arc(&w, in, r);
    add_result(&w, "iprev", iprev_text(r), "");
    add_property(&w, "policy.iprev", in->client_ip);
    buf_add_str(out, "\r\n");
    write_received_spf(in, r, out);
}
