#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "services/smtpd/smtpd.h"

enum { BUCKETS = 4096, KEY_BYTES = ADDRESS_BYTES_MAX + 40 };

struct name {
    struct name *next;
    int64_t until_us;
    struct resolved *answer; /* of accounts.resolve; NULL: of accounts.owns, which was yes */
    bool depends;            /* it depends on names other than its own: an alias, a catch-all, an
                                owner */
    const char *domain;      /* in key */
    char key[];              /* local@domain, or user SP local@domain */
};

struct resolver {
    struct name *buckets[BUCKETS];
    size_t count;
    uint64_t changes; /* number of change events */
};

/* An answer */

static char *copy_text(char **at, struct slice text) {
    char *copy = memcpy(*at, text.p, text.n + 1);
    *at += text.n + 1;
    return copy;
}

struct resolved *resolved_read(struct slice text) {
    struct arena *arena = arena_create();
    struct resolve_reply reply;
    struct resolved *x = NULL;
    if (resolve_reply_read(arena, text, &reply) == NULL) {
        size_t count = reply.user_count + reply.remote_count, bytes = 0;
        for (size_t i = 0; i < reply.user_count; i++) bytes += reply.users[i].user.n + reply.users[i].address.n + 2;
        for (size_t i = 0; i < reply.remote_count; i++) bytes += reply.remotes[i].n + 1;
        x = memory_alloc(sizeof *x + count * sizeof *x->at + bytes);
        char *texts = (char *)(x->at + count);
        x->uses = 1;
        x->kind = reply.kind;
        for (size_t i = 0; i < reply.user_count; i++, x->count++) {
            x->at[x->count].address = copy_text(&texts, reply.users[i].address);
            x->at[x->count].user = copy_text(&texts, reply.users[i].user);
        }
        for (size_t i = 0; i < reply.remote_count; i++) x->at[x->count++].address = copy_text(&texts, reply.remotes[i]);
    }
    arena_destroy(arena);
    return x;
}

void resolved_release(struct resolved *x) {
    if (x && --x->uses == 0) free(x);
}

/* What is kept */

static size_t bucket_of(const char *key) {
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *key; key++) hash = (hash ^ (unsigned char)*key) * 0x100000001b3u;
    return hash % BUCKETS;
}

static void name_free(struct resolver *r, struct name **at) {
    struct name *n = *at;
    *at = n->next;
    resolved_release(n->answer);
    free(n);
    r->count--;
}

/* user NULL: of accounts.resolve. -1: this is no address. */
static int make_key(char out[KEY_BYTES], const char *user, struct slice address) {
    struct mail_address a;
    char text[ADDRESS_BYTES_MAX];
    if (address_normalise(address, &a) != 0) return -1;
    int n = snprintf(out, KEY_BYTES, "%s%s%s", user ? user : "", user ? " " : "", address_text(&a, text));
    return n < KEY_BYTES ? 0 : -1;
}

static struct name *find(struct resolver *r, const char *user, struct slice address) {
    char key[KEY_BYTES];
    if (make_key(key, user, address) != 0) return NULL;
    for (struct name **at = &r->buckets[bucket_of(key)]; *at;) {
        bool wanted = strcmp((*at)->key, key) == 0;
        if (!wanted) {
            at = &(*at)->next;
        } else if ((*at)->until_us < clock_monotonic_us()) {
            name_free(r, at);
            return NULL;
        } else {
            return *at;
        }
    }
    return NULL;
}

static void empty(struct resolver *r) {
    for (size_t i = 0; i < BUCKETS; i++)
        while (r->buckets[i]) name_free(r, &r->buckets[i]);
}

static void keep(struct resolver *r, uint64_t mark, const char *user, struct slice address, struct resolved *answer,
                 bool depends) {
    char key[KEY_BYTES];
    if (mark != r->changes || make_key(key, user, address) != 0 || find(r, user, address)) {
        resolved_release(answer);
        return;
    }
    if (r->count >= RESOLVE_NAMES_MAX) empty(r);
    size_t n = strlen(key);
    struct name *name = memory_alloc(sizeof *name + n + 1);
    memcpy(name->key, key, n + 1);
    name->domain = strrchr(name->key, '@') + 1;
    name->answer = answer;
    name->depends = depends;
    name->until_us = clock_monotonic_us() + (int64_t)RESOLVE_KEEP_S * 1000 * 1000;
    name->next = r->buckets[bucket_of(key)];
    r->buckets[bucket_of(key)] = name;
    r->count++;
}

/* Whether the answer names one account with this address and nothing else. */
static bool is_plain(struct slice address, const struct resolved *x) {
    char a[KEY_BYTES], b[KEY_BYTES];
    return x->count == 1 && x->at[0].user && make_key(a, NULL, address) == 0 &&
           make_key(b, NULL, slice_of(x->at[0].address)) == 0 && strcmp(a, b) == 0;
}

struct resolved *resolver_find(struct resolver *r, struct slice address) {
    struct name *n = find(r, NULL, address);
    if (!n) return NULL;
    n->answer->uses++;
    return n->answer;
}

uint64_t resolver_mark(const struct resolver *r) { return r->changes; }

void resolver_keep(struct resolver *r, uint64_t mark, struct slice address, struct resolved *answer) {
    if (answer->kind == RESOLVE_UNKNOWN) return;
    answer->uses++;
    keep(r, mark, NULL, address, answer, !is_plain(address, answer));
}

bool resolver_owns(struct resolver *r, const char *user, struct slice address) {
    return find(r, user, address) != NULL;
}

void ask_resolve(struct checking *c, struct slice address, check_answer_fn *answer) {
    struct buf ask = {0};
    c->mark = resolver_mark(c->session->smtpd->resolver);
    resolve_ask_write(address, &ask);
    check_ask(c, "accounts.resolve", &ask, SMTP_RESOLVE_MS, answer);
}

void ask_owner(struct checking *c, struct slice address, check_answer_fn *answer) {
    struct buf ask = {0};
    struct json_put j = json_put_begin(&ask);
    c->mark = resolver_mark(c->session->smtpd->resolver);
    json_put_object(&j, NULL);
    json_put_word(&j, "user", c->session->user);
    json_put_text(&j, "address", address);
    json_put_end(&j, '}');
    check_ask(c, "accounts.owns", &ask, SMTP_RESOLVE_MS, answer);
}

bool owner_answer(struct checking *c, struct slice reply, struct slice address) {
    struct session *s = c->session;
    yyjson_val *o;
    yyjson_doc *doc = json_take(reply, &o);
    bool owns = doc && json_take_true(o, "owns");
    yyjson_doc_free(doc);
    if (owns) keep(s->smtpd->resolver, c->mark, s->user, address, NULL, true);
    return owns;
}

void resolver_forget(struct resolver *r, const char *domain, const char *account) {
    size_t local = account ? strcspn(account, "@") : 0;
    r->changes++;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct name **at = &r->buckets[i]; *at;) {
            const struct name *n = *at;
            bool here = strcmp(n->domain, domain) == 0;
            if (here && account)
                here = (size_t)(n->domain - 1 - n->key) == local && strncmp(n->key, account, local) == 0;
            if (here || n->depends)
                name_free(r, at);
            else
                at = &(*at)->next;
        }
}

static void on_changed(void *ctx, struct slice about, const json_t *data) {
    const char *domain = json_string_value(json_object_get(data, "domain")),
               *what = json_string_value(json_object_get(data, "what")),
               *name = json_string_value(json_object_get(data, "name"));
    (void)about;
    if (domain && what && strcmp(what, "key") != 0)
        resolver_forget(ctx, domain, strcmp(what, "account") == 0 ? name : NULL);
}

static void on_missed(void *ctx) {
    struct resolver *r = ctx;
    r->changes++;
    empty(r);
}

struct resolver *resolver_create(struct smtpd *d) {
    struct resolver *r = memory_alloc(sizeof *r);
    if (d->worker->bus) bus_follow(d->worker->bus, "account.changed.>", on_changed, on_missed, r);
    return r;
}

void resolver_destroy(struct resolver *r) {
    if (!r) return;
    empty(r);
    free(r);
}
