/* The import of a message and of a folder, whatever the source is. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/member.h"
#include "services/cli/mailbox/transfer.h"

static void account_path(const struct transfer *t, const char *tail, struct buf *path) {
    buf_reset(path);
    buf_add_str(path, "/api/v1/accounts/");
    api_add(path, t->address);
    buf_add_str(path, tail);
}

/* The 26 characters of an id are those of a ULID of the time 0, whose 80 random bits are those of a digest. */
static void id_write(const unsigned char digest[10], char out[TRANSFER_ID_BYTES]) {
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    memset(out, '0', 10);
    for (int i = 0; i < 16; i++) {
        int bit = i * 5, byte = bit / 8, shift = 11 - bit % 8;
        unsigned pair = (unsigned)digest[byte] << 8 | (byte < 9 ? digest[byte + 1] : 0);
        out[10 + i] = alphabet[pair >> shift & 31];
    }
    out[26] = 0;
}

/* The key of an id in the set of those that are present. */
static void id_key(const char *id, unsigned char key[DIGEST_BYTES]) {
    unsigned char digest[32];
    crypto_hash_sha256(digest, (const unsigned char *)id, strlen(id));
    memcpy(key, digest, DIGEST_BYTES);
}

int import_add_present(struct transfer *t, const char *name) {
    struct buf path = {0};
    json_t *answer = NULL, *each;
    size_t i;
    account_path(t, "/messages?folder=", &path);
    api_add(&path, name);
    int failed = api_call(t->c, "GET", buf_str(&path), NULL, &answer);
    json_array_foreach(json_object_get(answer, "messages"), i, each) {
        unsigned char key[DIGEST_BYTES];
        id_key(member_text(each, "id"), key);
        digests_add(&t->present, key);
    }
    json_decref(answer);
    buf_free(&path);
    return failed;
}

int import_open_folder(struct transfer *t, const char *name, bool subscribed) {
    struct buf path = {0};
    json_t *answer = NULL;
    account_path(t, "/folders", &path);
    int failed =
        api_call(t->c, "PUT", buf_str(&path), json_pack("{s:s, s:b}", "name", name, "subscribed", subscribed), &answer);
    json_decref(answer);
    digests_free(&t->present);
    digests_free(&t->copies);
    buf_free(&path);
    return failed ? failed : import_add_present(t, name);
}

static void add_flags(uint32_t flags, struct slice keywords, struct buf *path) {
    static const struct {
        enum maildir_flag flag;
        const char *name;
    } names[] = {{MAILDIR_SEEN, "\\Seen "},       {MAILDIR_ANSWERED, "\\Answered "}, {MAILDIR_FLAGGED, "\\Flagged "},
                 {MAILDIR_DELETED, "\\Deleted "}, {MAILDIR_DRAFT, "\\Draft "},       {MAILDIR_PASSED, "$Forwarded "}};
    struct buf words = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (flags & names[i].flag) buf_add_str(&words, names[i].name);
    buf_add_slice(&words, keywords);
    api_add(path, buf_str(&words));
    buf_free(&words);
}

void import_id(struct transfer *t, const unsigned char digest[32], char id[TRANSFER_ID_BYTES]) {
    unsigned char whole[32];
    char number[16];
    crypto_hash_sha256_state hash;
    int digits = snprintf(number, sizeof number, "%u", digests_add(&t->copies, digest));
    crypto_hash_sha256_init(&hash);
    crypto_hash_sha256_update(&hash, (const unsigned char *)t->user, strlen(t->user) + 1);
    crypto_hash_sha256_update(&hash, (const unsigned char *)t->folder, strlen(t->folder) + 1);
    crypto_hash_sha256_update(&hash, (const unsigned char *)number, (size_t)digits + 1);
    crypto_hash_sha256_update(&hash, digest, 32);
    crypto_hash_sha256_final(&hash, whole);
    id_write(whole, id);
}

bool import_has(const struct digests *ids, const char *id) {
    unsigned char key[DIGEST_BYTES];
    id_key(id, key);
    return digests_has(ids, key);
}

int import_send(struct transfer *t, const char *id, struct slice message, int64_t date, uint32_t flags,
                struct slice keywords, const char *where) {
    struct buf path = {0};
    int failed = CLI_OK;
    if (!message.n || message.n > TRANSFER_MESSAGE_MAX) {
        fprintf(stderr, "postbus: %s: the message is %s\n", where, message.n ? "larger than 50 MiB" : "empty");
        transfer_count(t, TRANSFER_FAILED);
        return CLI_OK;
    }
    account_path(t, "/messages?folder=", &path);
    api_add(&path, t->folder);
    buf_printf(&path, "&id=%s&date=%lld&flags=", id, (long long)(date > 0 ? date : 0));
    add_flags(flags, keywords, &path);
    for (int tries = 0; tries < TRANSFER_TRIES; tries++) {
        json_t *answer = NULL;
        long status = 0;
        if (tries) sleep(2);
        failed = api_post_message(t->c, buf_str(&path), message, &status, &answer);
        bool duplicate = json_is_true(json_object_get(answer, "duplicate"));
        json_decref(answer);
        if (failed && (status == 413 || status == 415 || status == 422)) {
            fprintf(stderr, "         %s was left out\n", where);
            transfer_count(t, TRANSFER_FAILED);
            failed = CLI_OK;
            break;
        }
        if (!failed) transfer_count(t, duplicate ? TRANSFER_SKIPPED : TRANSFER_DONE);
        if (failed != CLI_UNAVAILABLE) break;
    }
    buf_free(&path);
    return failed;
}

int import_message(struct transfer *t, struct slice message, int64_t date, uint32_t flags, struct slice keywords,
                   const char *where) {
    char id[TRANSFER_ID_BYTES];
    unsigned char digest[32];
    crypto_hash_sha256(digest, (const unsigned char *)message.p, message.n);
    import_id(t, digest, id);
    if (!import_has(&t->present, id)) return import_send(t, id, message, date, flags, keywords, where);
    transfer_count(t, TRANSFER_SKIPPED);
    return CLI_OK;
}
