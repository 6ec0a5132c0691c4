/* The end of a transaction: its refusal after the text, and the next one's beginning. */
#include "libcommon/base/log.h"
#include "services/smtpd/smtpd.h"

void transaction_reset(struct session *s) {
    struct transaction *t = &s->t;
    struct arena *arena = t->arena;
    struct buf text = t->text;
    for (size_t i = 0; i < t->hash_count; i++) body_hash_destroy(t->hashes[i]);
    if (t->written) body_release(t->written, NULL, NULL);
    buf_free(&t->change.on_top);
    atomic_fetch_sub(&s->smtpd->process->memory, t->memory);
    buf_reset(&text);
    arena_reset(arena);
    *t = (struct transaction){.arena = arena, .text = text, .body = BODY_8BITMIME};
    message_count(s);
}

struct mail_event_rcpt *message_event_rcpts(const struct transaction *t) {
    struct mail_event_rcpt *list = arena_alloc(t->arena, (t->rcpt_count + 1) * sizeof *list);
    size_t i = 0;
    for (const struct rcpt *r = t->rcpts; r; r = r->next, i++) {
        list[i].address = r->address;
        if (r->user) list[i].user = slice_of(r->user);
        if (r->from) list[i].from = slice_of(r->from);
        list[i].folder = r->folder;
        list[i].uid = r->uid;
        list[i].modseq = r->modseq;
    }
    return list;
}

static void say_refused(struct session *s, int code, const char *enhanced, const char *reason) {
    struct transaction *t = &s->t;
    struct mail_event_client client = trace_client(s);
    struct buf event = {0};
    struct mail_refused refused = {.from = t->from,
                                   .enhanced = slice_of(enhanced),
                                   .reason = slice_of(reason),
                                   .code = code,
                                   .client = &client,
                                   .verdict = t->verified ? t->verified->proofs : SLICE(""),
                                   .rcpt_count = t->rcpt_count,
                                   .rcpts = message_event_rcpts(t)};
    if (mail_refused_write(&refused, &event))
        bus_publish_text(s->smtpd->worker->bus, "mail.refused", slice_of(t->id), buf_slice(&event));
    buf_free(&event);
}

void message_refuse(struct session *s, int code, const char *enhanced, const char *reason) {
    struct transaction *t = &s->t;
    metric_add(code < 500 ? &smtpd_deferred : &smtpd_refused, 1);
    log_info("message refused", "id", t->id, "from", t->from.p, "client", s->ip, "enhanced", enhanced, "reason", reason,
             NULL);
    say_refused(s, code, enhanced, reason);
    session_reply(s, "%d %s %s", code, enhanced, reason);
    transaction_reset(s);
}
