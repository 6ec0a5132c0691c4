/* postbus backup. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/member.h"
#include "services/cli/backup/backup.h"
#include "services/cli/backup/families.h"

enum { LISTINGS_MAX = 10 /* of a mailbox that changes while it is read */, KEEP_MAX = 100000 };

struct saving {
    struct cli *c;
    const char *directory, *only, *address;
    char time[BACKUP_TIME_BYTES];
    size_t keep;        /* states of an account; 0: all */
    struct buf account; /* the account's directory */
    size_t accounts, messages, fetched, missing;
};

static void api_path(const char *address, const char *tail, struct buf *path) {
    buf_reset(path);
    buf_add_str(path, "/api/v1/accounts/");
    api_add(path, address);
    buf_add_str(path, tail);
}

/* The messages of one folder, added to the state. */
static int list_folder(struct saving *s, const json_t *folder, json_t *folders) {
    struct buf path = {0};
    json_t *list = NULL;
    const char *name = member_text(folder, "name");
    api_path(s->address, "/messages?folder=", &path);
    api_add(&path, name);
    int failed = api_call(s->c, "GET", buf_str(&path), NULL, &list);
    buf_free(&path);
    if (failed) return failed;
    json_t *messages = json_object_get(list, "messages");
    json_array_append_new(folders, json_pack("{s:s, s:s, s:O, s:O}", "name", name, "special_use",
                                             member_text(folder, "special_use"), "subscribed",
                                             json_object_get(folder, "subscribed"), "messages", messages));
    json_decref(list);
    return CLI_OK;
}

static int get_folders(struct saving *s, json_t **answer) {
    struct buf path = {0};
    api_path(s->address, "/folders", &path);
    int failed = api_call(s->c, "GET", buf_str(&path), NULL, answer);
    buf_free(&path);
    return failed;
}

/* Whether a message came into a folder, or a folder was made, between two answers: then a message may have been moved
 * past the listing. */
static bool grew(const json_t *before, const json_t *after) {
    size_t i;
    json_t *each;
    const json_t *was = json_object_get(before, "folders"), *now = json_object_get(after, "folders");
    if (json_array_size(was) != json_array_size(now)) return true;
    json_array_foreach(now, i, each) {
        const json_t *old = json_array_get(was, i);
        if (strcmp(member_text(each, "name"), member_text(old, "name")) != 0 ||
            !json_equal(json_object_get(each, "uidnext"), json_object_get(old, "uidnext")))
            return true;
    }
    return false;
}

/* What the mailbox has at one moment: {"folders": […]}. */
static int list_mailbox(struct saving *s, json_t **state) {
    json_t *before = NULL, *after = NULL, *each;
    size_t i;
    int failed = get_folders(s, &before);
    *state = NULL;
    for (int n = 0; !failed && n < LISTINGS_MAX; n++) {
        json_t *folders = json_array();
        json_decref(*state);
        *state = json_pack("{s:s, s:o}", "time", s->time, "folders", folders);
        json_array_foreach(json_object_get(before, "folders"), i, each) if (!failed) failed =
            list_folder(s, each, folders);
        if (failed) break;
        failed = get_folders(s, &after);
        if (failed || !grew(before, after)) break;
        json_decref(before);
        before = after;
        after = NULL;
    }
    json_decref(before);
    json_decref(after);
    return failed;
}

static bool is_there(const char *path, const json_t *message) {
    struct stat st;
    return stat(path, &st) == 0 && st.st_size == json_integer_value(json_object_get(message, "size"));
}

/* Fetches a message, unless it is there. *moved: it is no longer in the folder. */
static int save_message(struct saving *s, const char *folder, const json_t *message, bool *moved) {
    const char *id = member_text(message, "email_id");
    struct buf file = {0}, temporary = {0}, path = {0}, bytes = {0};
    int failed = CLI_OK;
    if (!backup_email_id_is_safe(id)) {
        fputs("postbus: the site gave a message without an EMAILID\n", stderr);
        return CLI_FAILED;
    }
    backup_message_path(buf_slice(&s->account), id, &file);
    if (!is_there(buf_str(&file), message)) {
        char *slash = strrchr(file.data, '/');
        *slash = 0;
        bool made = file_make_directory(file.data);
        *slash = '/';
        api_path(s->address, "/messages/raw?folder=", &path);
        api_add(&path, folder);
        buf_printf(&path, "&uid=%lld", (long long)json_integer_value(json_object_get(message, "uid")));
        failed = made ? api_call_text(s->c, buf_str(&path), "message/rfc822", &bytes) : CLI_UNAVAILABLE;
        *moved = failed == CLI_FAILED;
        buf_printf(&temporary, "%s.new", buf_str(&file));
        if (!failed) {
            s->fetched++;
            if (!file_write(buf_str(&temporary), buf_str(&file), buf_slice(&bytes), 0)) failed = CLI_FAILED;
        }
    }
    buf_free(&file);
    buf_free(&temporary);
    buf_free(&path);
    buf_free(&bytes);
    return failed;
}

/* Every message of a state. *moved: some of them were no longer where the state has them. */
static int save_messages(struct saving *s, const json_t *state, bool *moved) {
    size_t i, k;
    json_t *folder, *message;
    int failed = CLI_OK;
    *moved = false;
    json_array_foreach(json_object_get(state, "folders"), i, folder) {
        json_array_foreach(json_object_get(folder, "messages"), k, message) {
            bool gone = false;
            if (failed) break;
            failed = save_message(s, member_text(folder, "name"), message, &gone);
            if (gone) failed = CLI_OK;
            *moved = *moved || gone;
        }
    }
    return failed;
}

/* The messages that could not be read leave the state: they were removed while it was saved. */
static void leave_out(struct saving *s, const json_t *state) {
    size_t i;
    json_t *folder, *message;
    struct buf file = {0};
    json_array_foreach(json_object_get(state, "folders"), i, folder) {
        json_t *messages = json_object_get(folder, "messages");
        for (size_t k = json_array_size(messages); k > 0; k--) {
            message = json_array_get(messages, k - 1);
            backup_message_path(buf_slice(&s->account), member_text(message, "email_id"), &file);
            if (is_there(buf_str(&file), message)) {
                json_object_del(message, "id"); /* of no use at another site */
                json_object_del(message, "uid");
                s->messages++;
            } else {
                json_array_remove(messages, k - 1);
                s->missing++;
            }
        }
    }
    buf_free(&file);
}

static int save_mailbox(struct saving *s) {
    struct buf path = {0};
    json_t *state = NULL;
    bool moved = true;
    int failed = CLI_OK;
    for (int n = 0; !failed && moved && n < LISTINGS_MAX; n++) {
        json_decref(state);
        failed = list_mailbox(s, &state);
        if (!failed) failed = save_messages(s, state, &moved);
    }
    if (!failed) leave_out(s, state);
    buf_printf(&path, "%sstates", buf_str(&s->account));
    if (!failed && !file_make_directory(buf_str(&path))) failed = CLI_FAILED;
    buf_printf(&path, "/%s.json", s->time);
    if (!failed && !backup_write(buf_str(&path), state)) failed = CLI_FAILED;
    json_decref(state);
    buf_free(&path);
    return failed;
}

/* --keep */

/* Removes the states before the last `keep`, then the messages that no state has. */
static int forget_old(struct saving *s) {
    char **names;
    size_t count = backup_states(buf_slice(&s->account), &names), i, k;
    struct buf path = {0};
    json_t *kept = json_object(), *folder, *message;
    int failed = CLI_OK;
    for (size_t n = 0; n < count && !failed; n++) {
        buf_reset(&path);
        buf_printf(&path, "%sstates/%s", buf_str(&s->account), names[n]);
        if (n + s->keep < count) {
            if (unlink(buf_str(&path)) != 0) failed = CLI_FAILED;
            continue;
        }
        json_t *state = backup_read(buf_str(&path));
        if (!state) failed = CLI_FAILED; /* nothing may be removed then */
        json_array_foreach(json_object_get(state, "folders"), i, folder)
            json_array_foreach(json_object_get(folder, "messages"), k, message)
                json_object_set_new(kept, member_text(message, "email_id"), json_true());
        json_decref(state);
    }
    buf_reset(&path);
    buf_printf(&path, "%smail", buf_str(&s->account));
    DIR *mail = failed ? NULL : opendir(buf_str(&path));
    for (struct dirent *e; mail && (e = readdir(mail));) {
        size_t at = path.n;
        if (*e->d_name == '.') continue;
        buf_printf(&path, "/%s", e->d_name);
        DIR *d = opendir(buf_str(&path));
        for (struct dirent *f; d && (f = readdir(d));) {
            size_t end = path.n;
            if (*f->d_name == '.' || json_object_get(kept, f->d_name)) continue;
            buf_printf(&path, "/%s", f->d_name);
            unlink(buf_str(&path));
            path.n = end;
            path.data[end] = 0;
        }
        if (d) closedir(d);
        path.n = at;
        path.data[at] = 0;
    }
    if (mail) closedir(mail);
    json_decref(kept);
    backup_states_free(names, count);
    buf_free(&path);
    return failed;
}

static int save_account(void *ctx, const json_t *account) {
    struct saving *s = ctx;
    struct buf path = {0};
    json_t *answer = NULL;
    s->address = member_text(account, "address");
    if (!backup_takes_account(s->only, s->address)) return CLI_OK;
    size_t before = s->messages, fetched = s->fetched;
    backup_account_path(s->directory, s->address, &s->account);
    int failed = file_make_directory(buf_str(&s->account)) ? CLI_OK : CLI_FAILED;
    api_path(s->address, "/record", &path);
    if (!failed) failed = api_call(s->c, "GET", buf_str(&path), NULL, &answer);
    buf_reset(&path);
    buf_printf(&path, "%srecord.json", buf_str(&s->account));
    if (!failed && !backup_write(buf_str(&path), json_object_get(answer, "record"))) failed = CLI_FAILED;
    if (!failed) failed = save_mailbox(s);
    if (!failed && s->keep) failed = forget_old(s);
    if (!failed) s->accounts++;
    if (!failed && !s->c->json)
        printf("%s\t%zu messages\t%zu new\n", s->address, s->messages - before, s->fetched - fetched);
    fflush(stdout);
    json_decref(answer);
    buf_free(&path);
    return failed;
}

static int add_alias(void *ctx, const json_t *alias) {
    json_array_append((json_t *)ctx, (json_t *)(uintptr_t)alias);
    return CLI_OK;
}

static int save_domain(void *ctx, const json_t *listed) {
    struct saving *s = ctx;
    const char *domain = json_string_value(listed);
    struct buf path = {0};
    json_t *aliases = json_array(), *answer = NULL;
    if (!backup_takes_domain(s->only, domain)) {
        json_decref(aliases);
        return CLI_OK;
    }
    buf_add_str(&path, "/api/v1/domains/");
    api_add(&path, domain);
    int failed = api_call(s->c, "GET", buf_str(&path), NULL, &answer);
    if (!failed) failed = family_each(s->c, "aliases", domain, add_alias, aliases);
    backup_account_path(s->directory, domain, &path);
    if (!failed && !file_make_directory(buf_str(&path))) failed = CLI_FAILED;
    buf_add_str(&path, "/domain.json");
    json_t *dns = json_object_get(answer, "dns");
    json_t *whole = json_pack("{s:s, s:O}", "domain", domain, "aliases", aliases);
    if (dns) json_object_set(whole, "dns", dns);
    if (!failed && !backup_write(buf_str(&path), whole)) failed = CLI_FAILED;
    if (!failed) failed = family_each(s->c, "accounts", domain, save_account, s);
    json_decref(whole);
    json_decref(answer);
    json_decref(aliases);
    buf_free(&path);
    return failed;
}

int backup_run(struct cli *c) {
    struct saving s = {.c = c, .directory = c->words[0], .only = c->count > 1 ? c->words[1] : NULL};
    uint64_t keep = 0;
    time_t now = time(NULL);
    struct tm utc;
    if (c->keep && (slice_to_u64(slice_of(c->keep), KEEP_MAX, &keep) != 0 || !keep)) {
        fputs("postbus: --keep is a number of backups, at least 1\n", stderr);
        return CLI_USAGE;
    }
    s.keep = (size_t)keep;
    strftime(s.time, sizeof s.time, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &utc));
    int failed = file_make_directory(s.directory) ? CLI_OK : CLI_FAILED;
    if (!failed) failed = family_each(c, "domains", NULL, save_domain, &s);
    if (!failed && s.only && strchr(s.only, '@') && !s.accounts) {
        fprintf(stderr, "postbus: there is no account %s\n", s.only);
        failed = CLI_FAILED;
    }
    json_t *summary = json_pack("{s:s, s:I, s:I, s:I}", "time", s.time, "accounts", (json_int_t)s.accounts, "messages",
                                (json_int_t)s.messages, "new", (json_int_t)s.fetched);
    if (!print_json(c, summary))
        printf("%zu accounts, %zu messages, %zu of them new: %s\n", s.accounts, s.messages, s.fetched, s.time);
    if (s.missing) fprintf(stderr, "postbus: %zu messages were removed while the backup ran\n", s.missing);
    json_decref(summary);
    buf_free(&s.account);
    return failed;
}
