/* Mail from other servers that an alias forwards to another site: its new reverse-path (SRS), and
 * the way of reports on it.
 *
 * The next server checks SPF for the reverse-path, so it is replaced by one of the alias's domain
 * (libcommon/trust/srs/srs.h), except for these:
 *   <>                        stays: a report has no sender
 *   of the alias's own domain stays: our SPF record is its own
 *   DMARC fails               stays, so that it fails there as it does here: SPF passes for our
 *                             domains wherever we
 *                             send from, and under our name a message that forges a From of ours
 *                             would be aligned.
 *                             Where that is not enough, because the reverse-path is of a domain of
 *                             ours, or there is
 *                             none and the From is of the mail host's own domain, the message is
 *                             refused.
 *   too long for SRS          postmaster of the alias's domain, who should get reports
 *
 * In the queue the message keeps its sender, who gets our own reports; the rewritten path belongs
 * to the recipient. */
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "libcommon/mail/domain.h"
#include "libcommon/trust/dmarc/dmarc.h"
#include "services/smtpd/smtpd.h"

void forward_configure(struct smtpd *d) {
    d->srs_secret = config_secret("srs.key", false);
    if (!d->srs_secret)
        log_warn("no secret srs.key: forwarded mail keeps its reverse-path, and SPF will fail for it", NULL);
    else if (srs_keys_read(slice_of(d->srs_secret), &d->srs) != 0)
        config_refuse("secret srs.key",
                      "is 1 to 8 lines of at least 16 characters each: the first key signs, all of them verify");
}

const char *forward_via(struct session *s, struct slice rcpt) {
    char domain[DOMAIN_BYTES];
    if (session_is_submission(s) || domain_normalise(envelope_domain(rcpt), domain) != 0) return NULL;
    return arena_copy(s->t.arena, slice_of(domain));
}

const char *forward_domain(const struct session *s) {
    for (const struct rcpt *r = s->t.rcpts; r; r = r->next)
        if (r->via) return r->via;
    return NULL;
}

enum forward_return forward_return(struct session *s, struct slice *address) {
    static const enum forward_return meanings[] = {[SRS_OK] = RETURN_TAKEN,
                                                   [SRS_NONE] = RETURN_NONE,
                                                   [SRS_TOO_LONG] = RETURN_FORGED,
                                                   [SRS_FORGED] = RETURN_FORGED,
                                                   [SRS_EXPIRED] = RETURN_EXPIRED};
    struct buf sender = {0};
    char domain[DOMAIN_BYTES];
    ptrdiff_t at = slice_find_last(*address, '@');
    if (session_is_submission(s) || !s->smtpd->srs.count || at < 0 ||
        domain_normalise(envelope_domain(*address), domain) != 0)
        return RETURN_NONE;
    char *whole = arena_printf(s->t.arena, "%.*s@%s", (int)at, address->p, domain);
    enum forward_return meaning =
        meanings[srs_reverse(&s->smtpd->srs, slice_of(whole), clock_wall_ms() / 1000, &sender)];
    if (meaning == RETURN_TAKEN && s->t.from.n) meaning = RETURN_WITH_SENDER;
    if (meaning == RETURN_TAKEN) *address = arena_slice(s->t.arena, buf_slice(&sender));
    buf_free(&sender);
    return meaning;
}

bool forward_is_unproven(const struct verify_reply *v) {
    return slice_is(v->dmarc_result, "fail") || slice_is(v->dmarc_result, "temperror");
}

/* Without a sender SPF is of the name we greet with (RFC 7208 §2.4), which is aligned with every
 * name of its organizational domain (RFC 9989 §4.4). The verifier tells that domain where it had to
 * find it. */
bool forward_greeting_proves(const struct session *s, const struct verify_reply *v) {
    struct slice host = slice_of(s->smtpd->worker->hostname), domain = v->organizational_domain.n
                                                                           ? v->organizational_domain
                                                                           : dmarc_organizational_domain(v->dmarc_from);
    if (s->t.from.n || !domain.n || host.n < domain.n ||
        !slice_equal_nocase(slice_skip(host, host.n - domain.n), domain))
        return false;
    return host.n == domain.n || host.p[host.n - domain.n - 1] == '.';
}

void forward_rewrite(struct session *s, const struct verify_reply *v) {
    struct transaction *t = &s->t;
    char own[DOMAIN_BYTES];
    if (!t->from.n || !s->smtpd->srs.count || forward_is_unproven(v)) return;
    if (domain_normalise(envelope_domain(t->from), own) != 0) own[0] = '\0'; /* an address literal */
    for (struct rcpt *r = t->rcpts; r; r = r->next) {
        struct buf path = {0};
        if (!r->via || strcmp(r->via, own) == 0) continue;
        switch (srs_forward(&s->smtpd->srs, t->from, slice_of(r->via), clock_wall_ms() / 1000, &path)) {
        case SRS_OK: r->from = arena_copy(t->arena, buf_slice(&path)); break;
        case SRS_TOO_LONG: r->from = arena_printf(t->arena, "postmaster@%s", r->via); break;
        default: break;
        }
        buf_free(&path);
    }
}
