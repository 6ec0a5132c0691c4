/* postbus: the command line of a Postbus site. There is one file for each family of commands; a
 * command is one row of its table. Commands of the admin API use api.c; a command that needs no
 * site (such as a check of a stored message) needs only struct cli. */
#ifndef POSTBUS_CLI_H
#define POSTBUS_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "libcommon/base/buf.h"

/* Exit statuses (sysexits.h). */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 64, CLI_UNAVAILABLE = 69, CLI_TEMPORARY = 75 };

/* The options, which may be anywhere on the line, and the remaining words. */
struct cli {
    const char *url, *token_file; /* NULL: from the environment, or the default */
    const char *password_file;    /* --password-file */
    bool password_stdin, json, force, now, yes;
    const char *quota, *limit, *after;
    const char *format;                           /* of domain dns: zone, json or table */
    const char *selector;                         /* of check domain: DKIM selectors,
                                                     comma-separated */
    const char *ip, *helo, *mail_from, *resolver; /* of check; NULL: not given */
    const char *domain;                           /* of queue: only mail to this domain */
    bool held, dead;                              /* of queue list */
    const char *folder;                           /* of mailbox: only this folder */
    const char *keep, *at;    /* of backup: states to keep; of restore and mailbox restore: a time */
    const char *ca, *rate;    /* of mailbox import from IMAP; NULL: not given */
    const char *messages[64]; /* of mailbox restore: ids */
    int message_count;
    bool beside, in_place; /* of mailbox restore */
    const char *maps[64];  /* of mailbox import: FROM=TO */
    int map_count;
    void *curl;   /* the connection to the API, which all calls use; NULL before the first */
    char **words; /* after the family and the command */
    int count;
};

struct command {
    const char *family, *name, *usage, *help;
    int min, max; /* number of words */
    int (*run)(struct cli *c);
};

extern const struct command domain_commands[], key_commands[], account_commands[], alias_commands[], message_commands[],
    queue_commands[], system_commands[], check_commands[], report_commands[], mailbox_commands[], backup_commands[],
    undo_commands[];

/* Sends a request to the admin API. For a 2xx returns 0 and *answer (owned by the caller; NULL for
 * none); otherwise prints the reason and returns the exit status. Takes ownership of body. */
int api_call(struct cli *c, const char *method, const char *path, json_t *body, json_t **answer);
/* As api_call, for what may exist already (409): then *existed, and 0. *answer may be set also after a failure. */
int api_make(struct cli *c, const char *method, const char *path, json_t *body, bool *existed, json_t **answer);
/* Sends a message as the body of a POST. *status: the HTTP status, 0 without an answer. */
int api_post_message(struct cli *c, const char *path, struct slice message, long *status, json_t **answer);
/* As api_call, for a text answer. accept: a media type. */
int api_call_text(struct cli *c, const char *path, const char *accept, struct buf *out);
/* Closes the connection to the API. */
void api_close(struct cli *c);
/* Adds text to a path or query, percent-encoded. */
void api_add(struct buf *path, const char *text);
/* Adds limit= and after= to a path; more: the path has a query already. */
void api_add_page(const struct cli *c, struct buf *path, bool more);
/* --json: prints the answer and returns true. */
bool print_json(const struct cli *c, const json_t *answer);
/* Prints "There are more: --after X" if the page has a next one. */
void print_next(const json_t *answer);

/* Asks for confirmation on the terminal before an action that cannot be undone; what: "delete
 * ann@example.org and all its mail". Without a terminal, or with --yes, the answer is yes. false:
 * the answer was no, and the user was told that nothing was changed. */
bool confirm(const struct cli *c, const char *what);

/* A password from --password-file, --password-stdin, or entered twice on the terminal. NULL after
 * printing the reason; the caller wipes and frees it. */
char *password_get(const struct cli *c);
void password_free(char *password);

#endif
