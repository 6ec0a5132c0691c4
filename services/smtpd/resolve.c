#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/json_write.h"
#include "services/smtpd/smtpd.h"

enum { BUCKETS = 4096, KEY_BYTES = ADDRESS_BYTES_MAX + 40 };

struct name {
    struct name *next;
    int64_t until_us;
    struct resolved *answer; /* of accounts.resolve; NULL: of accounts.owns, which was yes */
    bool depends;            /* on other names than its own: an alias, a catch-all, an owner */
    const char *domain;      /* in key */
    char key[];              /* local@domain, or user SP local@domain */
};

struct resolver {
    struct smtpd *smtpd;
    struct name *buckets[BUCKETS];
    size_t count;
    uint64_t changes; /* that were heard */
};

/* An answer
 * --------------------------------------------------------------------------------------------------------------------
 */

static char *copy_text(char **at, const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = memcpy(*at, text, n);
    *at += n;
    return copy;
}

struct resolved *resolved_read(yyjson_val *reply) {
    static const char *const kinds[] = {
        [RESOLVED_LOCAL] = "local", [RESOLVED_REMOTE] = "remote", [RESOLVED_UNKNOWN] = "unknown"};
    const char *kind = answer_text(reply, "kind");
    yyjson_val *users = yyjson_obj_get(reply, "users"), *remote = yyjson_obj_get(reply, "remote"), *one;
    size_t i, n, bytes = 0, count = 0;
    yyjson_arr_foreach(users, i, n, one) bytes +=
        yyjson_get_len(yyjson_obj_get(one, "address")) + yyjson_get_len(yyjson_obj_get(one, "user")) + 2;
    yyjson_arr_foreach(remote, i, n, one) bytes += yyjson_get_len(one) + 1;
    size_t max = yyjson_arr_size(users) + yyjson_arr_size(remote);
    struct resolved *x = memory_alloc(sizeof *x + max * sizeof *x->at + bytes);
    char *texts = (char *)(x->at + max);
    x->uses = 1;
    x->kind = RESOLVED_LOCAL;
    while (x->kind <= RESOLVED_UNKNOWN && (!kind || strcmp(kind, kinds[x->kind]) != 0)) x->kind++;
    yyjson_arr_foreach(users, i, n, one) {
        const char *address = answer_text(one, "address"), *user = answer_text(one, "user");
        if (!address || !user) continue;
        x->at[count].address = copy_text(&texts, address);
        x->at[count++].user = copy_text(&texts, user);
    }
    yyjson_arr_foreach(remote, i, n, one) if (yyjson_is_str(one)) x->at[count++].address =
        copy_text(&texts, yyjson_get_str(one));
    x->count = count;
    if (x->kind <= RESOLVED_UNKNOWN) return x;
    resolved_release(x);
    return NULL;
}

void resolved_release(struct resolved *x) {
    if (x && --x->uses == 0) free(x);
}

/* What is kept
 * ----------------------------------------------------------------------------------------------------------------
 */

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

/* An answer about an account names this account and nothing else. */
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
    if (answer->kind == RESOLVED_UNKNOWN) return;
    answer->uses++;
    keep(r, mark, NULL, address, answer, !is_plain(address, answer));
}

bool resolver_owns(struct resolver *r, const char *user, struct slice address) {
    return find(r, user, address) != NULL;
}

void resolver_keep_owner(struct resolver *r, uint64_t mark, const char *user, struct slice address) {
    keep(r, mark, user, address, NULL, true);
}

void ask_resolve(struct checking *c, struct slice address, check_answer_fn *answer) {
    struct buf ask = {0};
    c->mark = resolver_mark(c->session->smtpd->resolver);
    json_open(&ask, NULL, '{');
    json_text(&ask, "address", address);
    json_close(&ask, '}');
    check_ask(c, "accounts.resolve", &ask, SMTP_RESOLVE_MS, answer);
}

void ask_owner(struct checking *c, struct slice address, check_answer_fn *answer) {
    struct buf ask = {0};
    c->mark = resolver_mark(c->session->smtpd->resolver);
    json_open(&ask, NULL, '{');
    json_text(&ask, "user", slice_of(c->session->user));
    json_text(&ask, "address", address);
    json_close(&ask, '}');
    check_ask(c, "accounts.owns", &ask, SMTP_RESOLVE_MS, answer);
}

/* An account's change concerns its own name; a change of anything else the whole domain; and either may concern names
 * that lead on to others. */
static void on_changed(void *ctx, struct slice about, const json_t *data) {
    struct resolver *r = ctx;
    const char *domain = json_string_value(json_object_get(data, "domain")),
               *what = json_string_value(json_object_get(data, "what")),
               *name = json_string_value(json_object_get(data, "name")),
               *user = json_string_value(json_object_get(data, "user")),
               *sessions = json_string_value(json_object_get(data, "sessions"));
    (void)about;
    if (!domain || !what || strcmp(what, "key") == 0) return;
    bool account = strcmp(what, "account") == 0 && name;
    size_t local = account ? strcspn(name, "@") : 0;
    r->changes++;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct name **at = &r->buckets[i]; *at;) {
            const struct name *n = *at;
            bool here = strcmp(n->domain, domain) == 0;
            if (here && account) here = (size_t)(n->domain - 1 - n->key) == local && strncmp(n->key, name, local) == 0;
            if (here || n->depends)
                name_free(r, at);
            else
                at = &(*at)->next;
        }
    if (user && sessions && strcmp(sessions, "end") == 0) sessions_end_user(r->smtpd, user);
}

struct resolver *resolver_create(struct smtpd *d) {
    struct resolver *r = memory_alloc(sizeof *r);
    r->smtpd = d;
    if (d->worker->bus) bus_hear(d->worker->bus, "account.changed.>", false, on_changed, r);
    return r;
}

void resolver_destroy(struct resolver *r) {
    if (!r) return;
    empty(r);
    free(r);
}
