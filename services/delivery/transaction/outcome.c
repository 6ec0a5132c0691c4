#include "services/delivery/transaction/outcome.h"

/* Whether the comma-separated list has this word. */
static bool has_word(struct slice list, const char *word) {
    struct slice one;
    for (bool more = true; more;) {
        more = slice_cut(&list, ',', &one);
        if (slice_is_nocase(slice_trim(more ? one : list), word)) return true;
    }
    return false;
}

enum rcpt_report outcome_report(const struct envelope_rcpt *r, const struct outcome *o, int64_t age_ms,
                                const struct retry_policy *policy) {
    bool given = r->notify.n > 0, never = has_word(r->notify, "never"),
         failure = !given || has_word(r->notify, "failure"), delay = !given || has_word(r->notify, "delay"),
         success = has_word(r->notify, "success");
    if (never) return REPORT_NONE;
    switch (o->kind) {
    case OUTCOME_BOUNCED: return failure ? REPORT_FAILED : REPORT_NONE;
    case OUTCOME_DEFERRED: return delay && !r->warned && age_ms > policy->warn_ms ? REPORT_DELAYED : REPORT_NONE;
    case OUTCOME_DELIVERED: return success ? REPORT_DELIVERED : REPORT_NONE;
    case OUTCOME_SENT: return success && !o->dsn_passed_on ? REPORT_RELAYED : REPORT_NONE;
    }
    return REPORT_NONE;
}

bool outcome_is_final(enum rcpt_state state) {
    return state == RCPT_DELIVERED || state == RCPT_SENT || state == RCPT_BOUNCED;
}

void outcome_apply(struct envelope *e, size_t index, const struct outcome *given, const struct retry_policy *policy,
                   int64_t now_ms, uint32_t random) {
    static const enum rcpt_state states[] = {RCPT_DELIVERED, RCPT_SENT, RCPT_DEFERRED, RCPT_BOUNCED};
    struct envelope_rcpt *r = &e->rcpts[index];
    struct outcome o = *given;
    if (o.kind == OUTCOME_DEFERRED && retry_is_expired(policy, e->received_ms, now_ms)) o.kind = OUTCOME_BOUNCED;
    if (!o.not_counted) r->attempts++;
    enum rcpt_report report = e->from.n ? outcome_report(r, &o, now_ms - e->received_ms, policy)
                                        : REPORT_NONE; /* there are no reports on reports (RFC 5321
                                                          §4.5.5) */
    if (report != REPORT_NONE) r->owed = report;
    if (report == REPORT_DELAYED) r->warned = true;
    r->state = states[o.kind];
    r->next_ms = 0;
    if (o.kind == OUTCOME_DEFERRED)
        r->next_ms = now_ms + (o.retry_ms ? o.retry_ms : retry_pause_ms(policy, r->attempts, random));
    r->code = o.code;
    r->enhanced = arena_slice(e->arena, slice_of(o.enhanced));
    r->reply = arena_slice(e->arena, slice_of(o.reason));
    r->host = arena_slice(e->arena, slice_of(o.host));
}
