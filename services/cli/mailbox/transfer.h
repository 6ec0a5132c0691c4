/* postbus mailbox export and import: what both have in common. A message goes through the admin API alone; each has an
 * id that depends on its bytes, its folder and the account, so that a second import of it changes nothing, however far
 * the first one came. */
#ifndef POSTBUS_CLI_TRANSFER_H
#define POSTBUS_CLI_TRANSFER_H

#include "services/cli/cli.h"
#include "services/cli/mailbox/digests.h"
#include "services/cli/mailbox/maildir.h"

enum {
    TRANSFER_MESSAGE_MAX = 50 * 1024 * 1024, /* a larger message is reported and left out */
    TRANSFER_TRIES = 10,                     /* of a call that the site cannot serve at the moment */
    TRANSFER_ID_BYTES = 27,
};

struct transfer {
    struct cli *c;
    const char *address;
    char user[64];
    struct digests present; /* ids of the messages that the folder on the site has */
    struct digests copies;  /* digests of messages in this folder of the source: how many there were */
    char *folder;           /* the present folder, as the site names it */
    size_t done, skipped, failed, all_done, all_skipped, all_failed, total;
    json_t *folders; /* the summary of each folder */
};

/* Finds the account. 0, or the exit status. */
int transfer_begin(struct transfer *t, struct cli *c, const char *address);
/* Prints the summary, frees everything, and returns the exit status: failed, or CLI_FAILED when messages were left
 * out. */
int transfer_end(struct transfer *t, int failed);
/* Ends without a summary. */
void transfer_free(struct transfer *t);

/* Whether this folder is to be transferred (--folder), and its name in the target (--map FROM=TO; the name itself
 * without one), which the caller frees. NULL: not. */
char *transfer_map(const struct transfer *t, const char *folder);

/* Begins a folder of total messages; shows it. name: on the site, for an import. */
void transfer_folder(struct transfer *t, const char *name, size_t total);
/* Counts a message and shows the progress on a terminal. */
enum transfer_result { TRANSFER_DONE, TRANSFER_SKIPPED, TRANSFER_FAILED };
void transfer_count(struct transfer *t, enum transfer_result result);
void transfer_folder_end(struct transfer *t);

/* Import */

/* Creates the folder on the site, unless it exists, subscribes to it or not, and reads which messages it has. */
int import_open_folder(struct transfer *t, const char *name, bool subscribed);
/* Adds the messages of a further folder to those that are present. */
int import_add_present(struct transfer *t, const char *name);
/* The id of a message: a digest of the account, the folder, what identifies the message at its source (a digest), and
 * how many messages with the same digest came before it. */
void import_id(struct transfer *t, const unsigned char digest[32], char id[TRANSFER_ID_BYTES]);
/* Whether a set of ids has this one. */
bool import_has(const struct digests *ids, const char *id);
/* Adds a message under this id, and counts it. Returns as import_message() does. */
int import_send(struct transfer *t, const char *id, struct slice message, int64_t date, uint32_t flags,
                struct slice keywords, const char *where);
/* Adds a message to the folder, unless it is there: its bytes identify it. flags: enum maildir_flag; keywords:
 * separated by spaces. Returns an exit status only when the import cannot go on; a message that is refused is reported
 * and counted. */
int import_message(struct transfer *t, struct slice message, int64_t date, uint32_t flags, struct slice keywords,
                   const char *where);
/* Each imports all of one kind of source. */
int import_maildir(struct transfer *t, const char *path);
int import_mbox(struct transfer *t, const char *path);
int import_imap(struct transfer *t, const char *url);

/* Export */

struct export_message {
    unsigned uid, uidvalidity;
    long long date;
    uint32_t flags;         /* enum maildir_flag */
    const json_t *keywords; /* an array of all flags */
};
/* Each writes one folder. messages: the API's list. */
int export_maildir(struct transfer *t, const char *directory, const char *folder, const json_t *list);
int export_mbox(struct transfer *t, const char *directory, const char *folder, const json_t *list);
/* Writes the list of subscribed folders. */
int export_subscriptions(const char *directory, const json_t *folders);
/* Reads a message from the site into out (emptied first). */
int export_read(struct transfer *t, const char *folder, unsigned uid, struct buf *out);
/* The system flags of a list of flags, and its keywords separated by spaces ($Forwarded is MAILDIR_PASSED). */
uint32_t flags_read(const json_t *list, struct buf *keywords);

/* Files */

/* Makes a directory and its parents. False after printing the reason. */
bool file_make_directory(const char *path);
/* Writes a file under another name, syncs it, sets its time (0: now) and gives it its name. False after printing the
 * reason. */
bool file_write(const char *temporary, const char *path, struct slice bytes, long long time);
/* The whole file added to out; false when it cannot be read (errno). */
bool file_read(const char *path, struct buf *out);

#endif
