#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "services/smtpd/smtpd.h"

enum { BUCKETS = 4096, KEY_BYTES = ADDRESS_BYTES_MAX + 40 };

struct name {
    struct name *next;
    int64_t until_us;
    json_t *answer;     /* of accounts.resolve; NULL: of accounts.owns, which was yes */
    bool depends;       /* on other names than its own: an alias, a catch-all, an owner */
    const char *domain; /* in key */
    char key[];         /* local@domain, or user SP local@domain */
};

struct resolver {
    struct smtpd *smtpd;
    struct name *buckets[BUCKETS];
    size_t count;
    uint64_t changes; /* that were heard */
};

static size_t bucket_of(const char *key) {
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *key; key++) hash = (hash ^ (unsigned char)*key) * 0x100000001b3u;
    return hash % BUCKETS;
}

static void name_free(struct resolver *r, struct name **at) {
    struct name *n = *at;
    *at = n->next;
    json_decref(n->answer);
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

static void keep(struct resolver *r, uint64_t mark, const char *user, struct slice address, json_t *answer,
                 bool depends) {
    char key[KEY_BYTES];
    if (mark != r->changes || make_key(key, user, address) != 0 || find(r, user, address)) {
        json_decref(answer);
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
static bool is_plain(struct slice address, const json_t *answer) {
    const json_t *users = json_object_get(answer, "users");
    const char *own = json_string_value(json_object_get(json_array_get(users, 0), "address"));
    char a[KEY_BYTES], b[KEY_BYTES];
    return json_array_size(users) == 1 && json_array_size(json_object_get(answer, "remote")) == 0 && own &&
           make_key(a, NULL, address) == 0 && make_key(b, NULL, slice_of(own)) == 0 && strcmp(a, b) == 0;
}

json_t *resolver_find(struct resolver *r, struct slice address) {
    struct name *n = find(r, NULL, address);
    return n ? json_incref(n->answer) : NULL;
}

uint64_t resolver_mark(const struct resolver *r) { return r->changes; }

void resolver_keep(struct resolver *r, uint64_t mark, struct slice address, const json_t *answer) {
    const char *kind = json_string_value(json_object_get(answer, "kind"));
    if (!kind || (strcmp(kind, "local") != 0 && strcmp(kind, "remote") != 0)) return;
    keep(r, mark, NULL, address, json_incref((json_t *)(uintptr_t)answer), !is_plain(address, answer));
}

bool resolver_owns(struct resolver *r, const char *user, struct slice address) {
    return find(r, user, address) != NULL;
}

void resolver_keep_owner(struct resolver *r, uint64_t mark, const char *user, struct slice address) {
    keep(r, mark, user, address, NULL, true);
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
