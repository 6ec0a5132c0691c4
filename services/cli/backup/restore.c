/* postbus restore. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/member.h"
#include "services/cli/backup/backup.h"

struct restoring {
    struct cli *c;
    const char *directory, *only;
    char at[BACKUP_TIME_BYTES]; /* the moment whose states are restored; empty: the last */
    size_t domains, accounts, done, skipped, failed;
};

/* A call that may find what it makes: that is no failure. *made (NULL: of no interest): it did not. */
static int make(struct cli *c, const char *method, const char *path, json_t *body, bool *made) {
    json_t *answer = NULL;
    bool existed = false;
    int failed = api_make(c, method, path, body, &existed, &answer);
    json_decref(answer);
    if (made) *made = !failed && !existed;
    return failed;
}

/* The messages of a folder that it has already, by EMAILID. */
static int known_messages(struct transfer *t, const char *folder, json_t **known) {
    struct buf path = {0};
    json_t *answer = NULL, *each;
    size_t i;
    *known = json_object();
    buf_add_str(&path, "/api/v1/accounts/");
    api_add(&path, t->address);
    buf_add_str(&path, "/messages?folder=");
    api_add(&path, folder);
    int failed = api_call(t->c, "GET", buf_str(&path), NULL, &answer);
    json_array_foreach(json_object_get(answer, "messages"), i, each)
        json_object_set_new(*known, member_text(each, "email_id"), json_true());
    json_decref(answer);
    buf_free(&path);
    return failed;
}

static int restore_message(struct transfer *t, struct slice account, const json_t *message, const json_t *known) {
    const char *id = member_text(message, "email_id");
    struct buf file = {0}, bytes = {0}, keywords = {0};
    int failed = CLI_OK;
    if (!backup_email_id_is_safe(id)) {
        fprintf(stderr, "postbus: %s has a message without an EMAILID\n", t->folder);
        transfer_count(t, TRANSFER_FAILED);
        return CLI_OK;
    }
    if (json_object_get(known, id)) {
        transfer_count(t, TRANSFER_SKIPPED);
        return CLI_OK;
    }
    backup_message_path(account, id, &file);
    if (!file_read(buf_str(&file), &bytes)) {
        fprintf(stderr, "postbus: cannot read %s\n", buf_str(&file));
        transfer_count(t, TRANSFER_FAILED);
    } else {
        uint32_t flags = flags_read(json_object_get(message, "flags"), &keywords);
        failed = import_message(t, buf_slice(&bytes), json_integer_value(json_object_get(message, "date")), flags,
                                buf_slice(&keywords), buf_str(&file));
    }
    buf_free(&file);
    buf_free(&bytes);
    buf_free(&keywords);
    return failed;
}

/* The folder with its use and its subscription, then its messages in their order. */
static int restore_folder(struct transfer *t, struct slice account, const json_t *folder) {
    const char *use = member_text(folder, "special_use");
    char *name = transfer_map(t, member_text(folder, "name"));
    struct buf path = {0};
    json_t *known = NULL, *message, *body, *messages = json_object_get(folder, "messages");
    size_t i;
    int failed = CLI_OK;
    if (!name) return CLI_OK;
    transfer_folder(t, name, json_array_size(messages));
    if (*use) {
        buf_add_str(&path, "/api/v1/accounts/");
        api_add(&path, t->address);
        buf_add_str(&path, "/folders");
        body = json_pack("{s:s, s:s}", "name", name, "special_use", use);
        failed = make(t->c, "PUT", buf_str(&path), body, NULL);
    }
    if (!failed) failed = import_open_folder(t, name, json_is_true(json_object_get(folder, "subscribed")));
    if (!failed) failed = known_messages(t, name, &known);
    json_array_foreach(messages, i, message) if (!failed) failed = restore_message(t, account, message, known);
    transfer_folder_end(t);
    json_decref(known);
    buf_free(&path);
    free(name);
    return failed;
}

/* The last state that is not after the moment asked for, in *path; false: there is none. */
static bool choose_state(const struct restoring *r, struct slice account, struct buf *path) {
    char **names;
    size_t count = backup_states(account, &names), n = count;
    while (n && *r->at && strncmp(names[n - 1], r->at, BACKUP_TIME_BYTES - 1) > 0) n--;
    buf_reset(path);
    if (n) buf_printf(path, "%.*sstates/%s", SLICE_FMT(account), names[n - 1]);
    backup_states_free(names, count);
    return n > 0;
}

static int restore_mailbox(struct restoring *r, struct slice account, const char *address) {
    struct buf path = {0};
    struct transfer t;
    json_t *state = NULL, *folder;
    size_t i;
    if (!choose_state(r, account, &path)) {
        fprintf(stderr, "postbus: there is no backup of %s%s%s\n", address, *r->at ? " from before " : "", r->at);
        buf_free(&path);
        return CLI_OK;
    }
    int failed = transfer_begin(&t, r->c, address);
    if (!failed) {
        state = backup_read(buf_str(&path));
        if (!state) failed = CLI_FAILED;
    }
    json_array_foreach(json_object_get(state, "folders"), i, folder) if (!failed) failed =
        restore_folder(&t, account, folder);
    r->done += t.all_done;
    r->skipped += t.all_skipped;
    r->failed += t.all_failed;
    transfer_free(&t);
    json_decref(state);
    buf_free(&path);
    return failed;
}

static int restore_account(struct restoring *r, const char *domain_path, const char *name) {
    struct buf account = {0}, path = {0};
    buf_printf(&account, "%s/%s/", domain_path, name);
    buf_printf(&path, "%srecord.json", buf_str(&account));
    json_t *record = backup_read(buf_str(&path));
    char *address = memory_copy(slice_of(member_text(record, "address")));
    int failed = record ? CLI_OK : CLI_FAILED;
    if (record && backup_takes_account(r->only, address)) {
        buf_reset(&path);
        buf_add_str(&path, "/api/v1/accounts/");
        api_add(&path, address);
        buf_add_str(&path, "/record");
        failed = make(r->c, "PUT", buf_str(&path), json_pack("{s:O}", "record", record), NULL);
        if (!failed && !r->c->json) printf("%s\n", address);
        if (!failed) failed = restore_mailbox(r, buf_slice(&account), address);
        if (!failed) r->accounts++;
    }
    free(address);
    json_decref(record);
    buf_free(&account);
    buf_free(&path);
    return failed;
}

static int restore_aliases(struct restoring *r, const json_t *aliases) {
    size_t i;
    json_t *each;
    int failed = CLI_OK;
    json_array_foreach(aliases, i, each) if (!failed) {
        json_t *body = json_pack("{s:s, s:O}", "address", member_text(each, "address"), "targets",
                                 json_object_get(each, "targets"));
        failed = body ? make(r->c, "POST", "/api/v1/aliases", body, NULL) : CLI_FAILED;
    }
    return failed;
}

/* The names in a directory, in order, without those that begin with a dot. */
static size_t names_in(const char *path, struct dirent ***names) {
    int count = scandir(path, names, NULL, alphasort);
    if (count < 0) perror(path);
    return count > 0 ? (size_t)count : 0;
}

static void names_free(struct dirent **names, size_t count) {
    for (size_t i = 0; i < count; i++) free(names[i]);
    if (names) free((void *)names);
}

static bool is_directory(const struct dirent *e) { return *e->d_name != '.' && e->d_type == DT_DIR; }

/* A domain with its settings, unless it exists, and its accounts. */
static int restore_accounts(struct restoring *r, const char *path, const json_t *whole) {
    const char *domain = member_text(whole, "domain");
    json_t *dns = json_object_get(whole, "dns");
    struct dirent **names = NULL;
    struct buf call = {0};
    bool made;
    int failed = make(r->c, "POST", "/api/v1/domains", json_pack("{s:s}", "domain", domain), &made);
    buf_add_str(&call, "/api/v1/domains/");
    api_add(&call, domain);
    if (made && json_object_size(dns))
        failed = make(r->c, "PATCH", buf_str(&call), json_pack("{s:O}", "dns", dns), NULL);
    size_t count = failed ? 0 : names_in(path, &names);
    for (size_t i = 0; i < count && !failed; i++)
        if (is_directory(names[i])) failed = restore_account(r, path, names[i]->d_name);
    names_free(names, count);
    buf_free(&call);
    if (!failed) r->domains++;
    return failed;
}

enum part { ACCOUNTS, ALIASES };

static int restore_domain(struct restoring *r, const char *name, enum part part) {
    struct buf path = {0}, file = {0};
    buf_printf(&path, "%s/%s", r->directory, name);
    buf_printf(&file, "%s/domain.json", buf_str(&path));
    json_t *whole = backup_read(buf_str(&file));
    int failed = whole ? CLI_OK : CLI_FAILED;
    if (whole && backup_takes_domain(r->only, member_text(whole, "domain")))
        failed = part == ACCOUNTS ? restore_accounts(r, buf_str(&path), whole)
                                  : restore_aliases(r, json_object_get(whole, "aliases"));
    json_decref(whole);
    buf_free(&path);
    buf_free(&file);
    return failed;
}

int backup_restore(struct cli *c) {
    struct restoring r = {.c = c, .directory = c->words[0], .only = c->count > 1 ? c->words[1] : NULL};
    struct dirent **names = NULL;
    if (c->at && strlen(c->at) != BACKUP_TIME_BYTES - 1) {
        fputs("postbus: --at is a time of a backup, such as 20261129T220000Z\n", stderr);
        return CLI_USAGE;
    }
    snprintf(r.at, sizeof r.at, "%s", c->at ? c->at : "");
    int failed = CLI_OK;
    size_t count = names_in(r.directory, &names);
    bool one = r.only && strchr(r.only, '@');
    for (enum part part = ACCOUNTS; part <= (one ? ACCOUNTS : ALIASES); part++) /* aliases need their targets */
        for (size_t i = 0; i < count && !failed; i++)
            if (is_directory(names[i])) failed = restore_domain(&r, names[i]->d_name, part);
    names_free(names, count);
    json_t *summary =
        json_pack("{s:I, s:I, s:I, s:I, s:I}", "domains", (json_int_t)r.domains, "accounts", (json_int_t)r.accounts,
                  "done", (json_int_t)r.done, "skipped", (json_int_t)r.skipped, "failed", (json_int_t)r.failed);
    if (!print_json(c, summary))
        printf("%zu domains, %zu accounts, %zu messages, %zu were there already, %zu could not be restored\n",
               r.domains, r.accounts, r.done, r.skipped, r.failed);
    json_decref(summary);
    if (!failed && (!r.domains || (one && !r.accounts))) {
        fprintf(stderr, "postbus: there is no such backup in %s\n", r.directory);
        failed = CLI_FAILED;
    }
    return failed ? failed : r.failed ? CLI_FAILED : CLI_OK;
}
