/* postbus backup and postbus restore: accounts, domains or all of them in a directory, over the admin API, while the
 * system runs.
 *
 *   DIR/<domain>/domain.json               {"domain", "dns", "aliases": [{"address", "targets"}]}
 *   DIR/<domain>/<local part>/record.json  the account, with what is kept of its password
 *   DIR/<domain>/<local part>/mail/ab/<EMAILID>    the bytes of a message, written once; ab: two characters of it
 *   DIR/<domain>/<local part>/states/<time>.json   what the mailbox had: {"folders": [{"name", "special_use",
 *       "subscribed", "messages": [{"email_id", "size", "date", "flags"}]}]}; a file for each backup, 20261129T220000Z
 *
 * A state is written when all of its messages are on disk, so a backup that was interrupted leaves the former states
 * as they were. Bytes of a local part that a file must not have are percent-encoded. */
#ifndef POSTBUS_CLI_BACKUP_H
#define POSTBUS_CLI_BACKUP_H

#include "services/cli/mailbox/transfer.h"

enum { BACKUP_TIME_BYTES = 17 /* 20261129T220000Z */ };

int backup_run(struct cli *c);
int backup_restore(struct cli *c);

/* What a backup or a restore goes over: the accounts that ONLY (NULL: all; a domain; an address) names. */
bool backup_takes_domain(const char *only, const char *domain);
bool backup_takes_account(const char *only, const char *address);

/* The account's directory, with "/" at its end. */
void backup_account_path(const char *directory, const char *address, struct buf *out);
/* The file of a message, below the account's directory. */
void backup_message_path(struct slice account, const char *email_id, struct buf *out);
/* Whether an EMAILID can be the name of a file: letters, digits, "-" and "_", at least two. */
bool backup_email_id_is_safe(const char *email_id);

/* Reads a file of JSON; NULL, after printing the reason, when it cannot be read. */
json_t *backup_read(const char *path);
/* Writes one beside it, syncs it, and gives it its name. */
bool backup_write(const char *path, const json_t *value);

/* The names of the states of an account, oldest first, in *names, which the caller frees with backup_states_free(). */
size_t backup_states(struct slice account, char ***names);
void backup_states_free(char **names, size_t count);

#endif
