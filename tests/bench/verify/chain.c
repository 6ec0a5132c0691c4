/* The usual chain of a Postfix: each message to the SPF policy daemon (its own process for each
 * session, over a socket, as spawn(8) runs it), then with the field that it prepends to OpenDKIM,
 * then with its field too to OpenDMARC. Without a policy daemon, OpenDMARC checks SPF itself. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "tests/bench/verify/milter.h"

struct chain {
    struct load *load;
    const struct settings *settings;
    struct bufferevent *policy; /* NULL: none */
    struct milter *opendkim, *opendmarc;
    const struct sample *sample;
    int left;          /* messages of this SMTP session */
    struct buf on_top; /* fields that were put on top so far */
    unsigned long instance;
};

static void next(struct chain *c);

/* Both signatures, the policy and (with a policy daemon) SPF must have passed; ARC is nothing these
 * three know. */
static void finish(struct chain *c, bool accepted) {
    static const char *const words[] = {"spf=pass", "header.s=one", "header.s=two", "dmarc=pass"};
    struct slice all = buf_slice(&c->on_top);
    bool self = !c->policy; /* OpenDMARC says spf=pass in a field of its own only when it looked
                               itself */
    size_t passes = 0;
    for (const char *at = buf_str(&c->on_top); (at = strstr(at, "dkim=pass")); at++) passes++;
    load_done(c->load, accepted && passes == 2 && says(all, words, sizeof words / sizeof *words),
              self && !all.n ? SLICE("nothing") : all);
    next(c);
}

static void on_dmarc(void *ctx, bool accepted, struct slice added) {
    struct chain *c = ctx;
    buf_add_slice(&c->on_top, added);
    finish(c, accepted);
}

/* What was put on last stands first. */
static void put_on_top(struct chain *c, struct slice added) {
    struct buf all = {0};
    buf_add_slice(&all, added);
    buf_add_slice(&all, buf_slice(&c->on_top));
    buf_free(&c->on_top);
    c->on_top = all;
}

static void on_dkim(void *ctx, bool accepted, struct slice added) {
    struct chain *c = ctx;
    put_on_top(c, added);
    if (accepted)
        milter_give(c->opendmarc, c->sample, buf_slice(&c->on_top));
    else
        finish(c, false);
}

static void on_policy(struct bufferevent *connection, void *ctx) {
    struct chain *c = ctx;
    struct evbuffer *input = bufferevent_get_input(connection);
    struct evbuffer_ptr end = evbuffer_search(input, "\n\n", 2, NULL);
    if (end.pos < 0) return;
    struct slice answer = slice_make(evbuffer_pullup(input, end.pos + 2), (size_t)end.pos);
    static const char prefix[] = "action=prepend ";
    if (slice_starts_nocase(answer, slice_of(prefix))) {
        buf_add_slice(&c->on_top, slice_skip(answer, sizeof prefix - 1));
        buf_add_str(&c->on_top, "\r\n");
    } else {
        buf_add_slice(&c->on_top, answer);
    }
    evbuffer_drain(input, (size_t)end.pos + 2);
    milter_give(c->opendkim, c->sample, buf_slice(&c->on_top));
}

static void on_policy_event(struct bufferevent *connection, short what, void *ctx) {
    (void)connection, (void)what, (void)ctx;
    fprintf(stderr, "the policy daemon went away\n");
    exit(1);
}

static void next(struct chain *c) {
    c->sample = load_take(c->load);
    buf_reset(&c->on_top);
    if (!c->sample) return;
    if (c->left == 0) {
        if (c->opendkim) milter_close(c->opendkim);
        if (c->opendmarc) milter_close(c->opendmarc);
        c->opendkim = milter_open(c->load->base, c->settings->opendkim, c->sample->ip, c->sample->helo, on_dkim, c);
        c->opendmarc = milter_open(c->load->base, c->settings->opendmarc, c->sample->ip, c->sample->helo, on_dmarc, c);
        c->left = c->settings->per_session;
    }
    c->left--;
    if (!c->policy) {
        milter_give(c->opendkim, c->sample, SLICE(""));
        return;
    }
    evbuffer_add_printf(bufferevent_get_output(c->policy),
                        "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nhelo_name=%s\nqueue_id="
                        "\ninstance=%d.%lu\nsender=%s\nrecipient="
                        "reader@bench.test\n"
                        "client_address=%s\nclient_name=%s\n\n",
                        c->sample->helo, (int)getpid(), c->instance, c->sample->from, c->sample->ip, c->sample->helo);
    c->instance += SESSIONS_MAX;
}

static struct bufferevent *start_policy(struct chain *c) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        perror("socketpair");
        exit(1);
    }
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(pair[1], 0);
        dup2(pair[1], 1);
        execl(c->settings->policy, c->settings->policy, c->settings->policy_config, (char *)NULL);
        perror(c->settings->policy);
        _exit(1);
    }
    close(pair[1]);
    if (child < 0 || c->load->pid_count == PIDS_MAX) exit(1);
    c->load->pids[c->load->pid_count++] = child;
    evutil_make_socket_nonblocking(pair[0]);
    struct bufferevent *connection =
        bufferevent_socket_new(c->load->base, pair[0], BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    bufferevent_setcb(connection, on_policy, NULL, on_policy_event, c);
    bufferevent_enable(connection, EV_READ | EV_WRITE);
    return connection;
}

void drive_milters(struct load *l, const struct settings *s) {
    for (int i = 0; i < l->sessions; i++) {
        struct chain *c = memory_alloc(sizeof *c);
        c->load = l;
        c->settings = s;
        c->instance = (unsigned long)i;
        if (*s->policy) c->policy = start_policy(c);
        next(c);
    }
}
