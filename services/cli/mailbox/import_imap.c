/* The import from another IMAP server. What was copied needs no list of its own: a message's id on the site depends on
 * its identity at the source (imap/source.h), so the site itself tells which messages it has. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/member.h"
#include "services/cli/mailbox/imap/source.h"
#include "services/cli/mailbox/transfer.h"

enum { BATCH_MESSAGES = 100, BATCH_BYTES = 20 * 1024 * 1024, KEYWORD_MAX = 100, KEYWORDS_MAX = 58, RATE_MAX = 10000 };

/* A message of the present folder. */
struct item {
    uint32_t uid;
    uint64_t size;
    int64_t date;
    uint32_t flags;
    char *keywords; /* NULL: none */
    char id[TRANSFER_ID_BYTES];
    bool done; /* transferred, present, or given up */
};

struct importing {
    struct transfer *t;
    struct source source;
    struct source_address address;
    json_t *site;         /* the account's folders */
    struct digests known; /* ids of all messages of the account: what its user moved does not come back */
    struct digests seen;  /* identities that were found in a folder other than \All */
    struct item *items;
    size_t count, room;
    bool virtual;     /* the present folder is \All */
    const char *name; /* the present folder at the source */
    int failed;       /* the exit status of a call of the site that ended the import */
    unsigned rate;    /* messages in a second; 0: no limit */
    int64_t next_us;  /* when the next message may be sent, with a rate */
};

/* A keyword is an atom (RFC 9051 §9), and no longer than the site takes. */
static bool is_keyword(struct slice word) {
    for (size_t i = 0; i < word.n; i++)
        if (word.p[i] <= ' ' || word.p[i] > '~' || strchr("(){%*\"\\]", word.p[i])) return false;
    return word.n > 0 && word.n <= KEYWORD_MAX;
}

static void read_flags(struct slice words, struct item *item) {
    struct buf keywords = {0};
    json_t *list = json_array();
    for (struct slice word; imap_word_next(&words, &word);)
        if (json_array_size(list) < KEYWORDS_MAX && word.n > 1 &&
            (*word.p == '\\' ? is_keyword(slice_skip(word, 1)) : is_keyword(word)))
            json_array_append_new(list, json_stringn(word.p, word.n));
    item->flags = flags_read(list, &keywords);
    /* system flags that are not known here, such as \Recent, are not taken along */
    struct buf kept = {0};
    struct slice rest = buf_slice(&keywords);
    for (struct slice word; imap_word_next(&rest, &word);) {
        if (*word.p == '\\') continue;
        if (kept.n) buf_add_char(&kept, ' ');
        buf_add_slice(&kept, word);
    }
    if (kept.n) item->keywords = memory_copy(buf_slice(&kept));
    json_decref(list);
    buf_free(&keywords);
    buf_free(&kept);
}

static bool on_message(void *ctx, const struct source_message *m) {
    struct importing *i = ctx;
    struct item item = {.uid = m->uid, .size = m->size, .date = m->date};
    if (i->virtual && digests_has(&i->seen, m->identity)) return true; /* its own folder has it */
    digests_add(&i->seen, m->identity);
    import_id(i->t, m->identity, item.id);
    item.done = import_has(&i->t->present, item.id) || import_has(&i->known, item.id);
    if (!item.done) read_flags(m->flags, &item);
    if (i->count == i->room) {
        i->room = i->room ? i->room * 2 : 1024;
        i->items = memory_resize(i->items, i->room * sizeof *i->items);
    }
    i->items[i->count++] = item;
    return true;
}

static void forget_items(struct importing *i) {
    for (size_t k = 0; k < i->count; k++) free(i->items[k].keywords);
    i->count = 0;
}

/* Waits until the next message may be sent. */
static void pace(struct importing *i) {
    int64_t now = clock_monotonic_us();
    if (!i->rate) return;
    if (i->next_us > now) {
        struct timespec wait = {(i->next_us - now) / 1000000, (i->next_us - now) % 1000000 * 1000};
        nanosleep(&wait, NULL);
    }
    i->next_us = (i->next_us > now ? i->next_us : now) + 1000000 / i->rate;
}

static int by_uid(const void *one, const void *other) {
    const struct item *a = one, *b = other;
    return a->uid < b->uid ? -1 : a->uid > b->uid;
}

static void refuse(struct importing *i, struct item *item, const char *why) {
    fprintf(stderr, "postbus: %s, UID %u: %s\n", i->name, item->uid, why);
    transfer_count(i->t, TRANSFER_FAILED);
    item->done = true;
}

static bool on_body(void *ctx, uint32_t uid, struct slice message, bool cut) {
    struct importing *i = ctx;
    struct item key = {.uid = uid}, *item = i->count ? bsearch(&key, i->items, i->count, sizeof key, by_uid) : NULL;
    char where[300];
    if (!item || item->done) return true; /* it was not asked for */
    if (cut) {
        refuse(i, item, "the message is larger than 50 MiB");
        return true;
    }
    pace(i);
    snprintf(where, sizeof where, "%.200s, UID %u", i->name, uid);
    i->failed = import_send(i->t, item->id, message, item->date, item->flags, slice_of(item->keywords), where);
    if (!i->failed) item->done = true;
    return !i->failed;
}

/* The next messages that are to be read, as a set of UIDs; false: there are none. from: where to look, which is moved
 * to the first of them. */
static bool next_batch(struct importing *i, size_t *from, size_t limit, struct buf *set) {
    uint64_t bytes = 0;
    size_t count = 0;
    buf_reset(set);
    while (*from < i->count && i->items[*from].done) ++*from;
    for (size_t k = *from; k < i->count && count < limit; k++) {
        struct item *item = &i->items[k];
        if (item->done) continue;
        if (item->size > TRANSFER_MESSAGE_MAX) {
            refuse(i, item, "the message is larger than 50 MiB");
            continue;
        }
        if (count && bytes + item->size > BATCH_BYTES) break;
        buf_printf(set, "%s%u", count++ ? "," : "", item->uid);
        bytes += item->size;
    }
    return count > 0;
}

/* The messages of a batch that did not come: removed in the meantime, or refused by the server. */
static void give_up(struct importing *i, struct slice set, const char *why) {
    for (struct slice one; set.n;) {
        uint64_t uid;
        if (!slice_cut(&set, ',', &one)) {
            one = set;
            set.n = 0;
        }
        if (slice_to_u64(one, UINT32_MAX, &uid) != 0) continue;
        struct item key = {.uid = (uint32_t)uid}, *item = bsearch(&key, i->items, i->count, sizeof key, by_uid);
        if (item && !item->done) refuse(i, item, why);
    }
}

static enum source_result copy_messages(struct importing *i) {
    struct buf set = {0};
    size_t from = 0, usual = i->rate && i->rate < BATCH_MESSAGES ? i->rate : BATCH_MESSAGES, limit = usual;
    enum source_result result = SOURCE_OK;
    while (result == SOURCE_OK && next_batch(i, &from, limit, &set)) {
        result = source_fetch(&i->source, buf_slice(&set), on_body, i);
        if (result == SOURCE_OK) {
            give_up(i, buf_slice(&set), "the server does not send it");
            limit = usual;
        } else if (result == SOURCE_NO) { /* one of them cannot be read there: one at a time */
            if (limit == 1) give_up(i, buf_slice(&set), i->source.why);
            limit = 1;
            result = SOURCE_OK;
        }
    }
    buf_free(&set);
    return result;
}

static size_t open_items(const struct importing *i) {
    size_t open = 0;
    for (size_t k = 0; k < i->count; k++) open += !i->items[k].done;
    return open;
}

/* Reads which messages the folder has, and counts those that are here. */
static enum source_result scan(struct importing *i, uint32_t messages) {
    forget_items(i);
    digests_free(&i->t->copies);
    enum source_result result = messages ? source_scan(&i->source, on_message, i) : SOURCE_OK;
    if (result != SOURCE_OK) return result;
    if (i->count) qsort(i->items, i->count, sizeof *i->items, by_uid);
    i->t->total = i->count;
    for (size_t k = 0; k < i->count; k++)
        if (i->items[k].done) transfer_count(i->t, TRANSFER_SKIPPED);
    return SOURCE_OK;
}

/* All of a folder, over as many connections as it takes, as long as each brings something. */
static int copy_folder(struct importing *i) {
    uint32_t uidvalidity = 0, now, messages;
    bool scanned = false;
    size_t before = SIZE_MAX;
    for (int tries = 0; tries < TRANSFER_TRIES;) {
        enum source_result result = i->source.wire.fd < 0 ? source_open(&i->source) : SOURCE_OK;
        if (result == SOURCE_OK) result = source_examine(&i->source, i->name, &now, &messages);
        if (result == SOURCE_OK && scanned && now != uidvalidity) {
            fprintf(stderr, "postbus: %s was replaced by its server in the meantime: import again\n", i->name);
            return CLI_UNAVAILABLE;
        }
        if (result == SOURCE_OK && !scanned) {
            uidvalidity = now;
            result = scan(i, messages);
            scanned = result == SOURCE_OK;
        }
        if (result == SOURCE_OK) result = copy_messages(i);
        if (result == SOURCE_OK) return CLI_OK;
        if (result == SOURCE_STOPPED) return i->failed;
        if (result == SOURCE_NO) {
            fprintf(stderr, "postbus: %s: %s: the folder was left out\n", i->name, i->source.why);
            transfer_count(i->t, TRANSFER_FAILED);
            return CLI_OK;
        }
        source_close(&i->source);
        fprintf(stderr, "postbus: %s\n", i->source.why);
        if (result == SOURCE_DENIED) break;
        size_t open = scanned ? open_items(i) : SIZE_MAX;
        tries = open < before ? 1 : tries + 1;
        before = open;
        sleep(tries < 3 ? 1 : 5);
    }
    return CLI_UNAVAILABLE;
}

/* The uses of folders (RFC 6154) that the site has one folder each for. */
static const char *const uses[] = {"\\Drafts", "\\Sent", "\\Junk", "\\Trash", "\\Archive"};

/* The name on the site: that of the folder with the same use, or the translated one. */
static const char *target_of(const struct importing *i, const struct source_folder *f) {
    const char *use = imap_word_has(slice_of(f->flags), "\\All") ? "\\Archive" : NULL;
    size_t k;
    json_t *each;
    for (size_t n = 0; n < sizeof uses / sizeof *uses; n++)
        if (imap_word_has(slice_of(f->flags), uses[n])) use = uses[n];
    if (use && strcmp(f->target, "INBOX") != 0)
        json_array_foreach(i->site, k, each) if (strcasecmp(member_text(each, "special_use"), use) ==
                                                 0) return member_text(each, "name");
    return f->target;
}

static int import_folder(struct importing *i, const struct source_folder *f) {
    if (!f->target) {
        fprintf(stderr, "postbus: a folder was left out, because its name is neither modified UTF-7 nor UTF-8\n");
        i->t->all_failed++;
        return CLI_OK;
    }
    char *name = transfer_map(i->t, target_of(i, f));
    if (!name) return CLI_OK;
    transfer_folder(i->t, name, 0);
    int failed = import_open_folder(i->t, name, f->subscribed);
    i->name = f->name;
    if (!failed) failed = copy_folder(i);
    transfer_folder_end(i->t);
    forget_items(i);
    free(name);
    return failed;
}

/* Folders that show messages of others: \All last, so that it adds what no other folder has; \Flagged and \Important
 * (RFC 8457) not at all. */
static int import_folders(struct importing *i) {
    struct source_folder *folders = NULL;
    size_t count = 0;
    int failed = CLI_OK;
    enum source_result result = source_open(&i->source);
    if (result == SOURCE_OK) result = source_folders(&i->source, &folders, &count);
    if (result != SOURCE_OK) {
        fprintf(stderr, "postbus: %s\n", i->source.why);
        failed = result == SOURCE_LOST ? CLI_UNAVAILABLE : CLI_FAILED;
    }
    for (int last = 0; last < 2; last++)
        for (size_t k = 0; k < count && !failed; k++) {
            struct slice flags = slice_of(folders[k].flags);
            i->virtual = imap_word_has(flags, "\\All");
            if (i->virtual == (last == 1) && !imap_word_has(flags, "\\Flagged") && !imap_word_has(flags, "\\Important"))
                failed = import_folder(i, &folders[k]);
        }
    source_folders_free(folders, count);
    return failed;
}

static int read_rate(const char *text, unsigned *rate) {
    uint64_t value;
    if (!text) return CLI_OK;
    if (slice_to_u64(slice_of(text), RATE_MAX, &value) != 0 || !value) {
        fprintf(stderr, "postbus: --rate is a number of messages in a second, 1 to %d\n", RATE_MAX);
        return CLI_USAGE;
    }
    *rate = (unsigned)value;
    return CLI_OK;
}

int import_imap(struct transfer *t, const char *url) {
    struct importing i = {.t = t};
    json_t *answer = NULL, *each;
    struct buf path = {0};
    size_t k;
    int failed = read_rate(t->c->rate, &i.rate);
    if (!failed && source_address_read(slice_of(url), &i.address) != 0) {
        fputs("postbus: the source is imaps://USER@HOST or, with STARTTLS, imap://USER@HOST\n", stderr);
        failed = CLI_USAGE;
    }
    char *password = failed ? NULL : password_get(t->c);
    if (!failed && !password) failed = CLI_USAGE;
    buf_add_str(&path, "/api/v1/accounts/");
    api_add(&path, t->address);
    buf_add_str(&path, "/folders");
    if (!failed) failed = api_call(t->c, "GET", buf_str(&path), NULL, &answer);
    i.site = json_object_get(answer, "folders");
    json_array_foreach(i.site, k, each) if (!failed) failed = import_add_present(t, member_text(each, "name"));
    i.known = t->present;
    t->present = (struct digests){0};
    signal(SIGPIPE, SIG_IGN); /* a connection that ends is an error of its write */
    i.source.address = &i.address;
    i.source.password = password;
    i.source.ca_file = t->c->ca;
    if (!failed) failed = import_folders(&i);
    source_free(&i.source);
    password_free(password);
    digests_free(&i.known);
    digests_free(&i.seen);
    free(i.items);
    json_decref(answer);
    buf_free(&path);
    return failed;
}
