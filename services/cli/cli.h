/* postbus: the command line of a Postbus site. One file a family of commands; a command is one row of its table.
 * Commands of the admin API go through api.h; a command that needs no site (such as a check of a stored message) needs
 * only struct cli. */
#ifndef POSTBUS_CLI_H
#define POSTBUS_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "libcommon/base/buf.h"

/* What the process ends with (sysexits.h). */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 64, CLI_UNAVAILABLE = 69, CLI_TEMPORARY = 75 };

/* The options that stand anywhere on the line, and the words that are left. */
struct cli {
    const char *url, *token_file; /* NULL: from the environment, or the default */
    const char *password_file;    /* --password-file */
    bool password_stdin, json, force, now, yes;
    const char *quota, *limit, *after;
    const char *format;                           /* of domain dns: zone, json or table */
    const char *selector;                         /* of check domain: DKIM selectors, comma-separated */
    const char *ip, *helo, *mail_from, *resolver; /* of check; NULL: not given */
    const char *domain;                           /* of queue: only mail to it */
    bool held, dead;                              /* of queue list */
    char **words;                                 /* after the family and the command */
    int count;
};

struct command {
    const char *family, *name, *usage, *help;
    int min, max; /* words it takes */
    int (*run)(struct cli *c);
};

extern const struct command domain_commands[], key_commands[], account_commands[], alias_commands[], message_commands[],
    queue_commands[], system_commands[], check_commands[], report_commands[];

/* Asks the admin API. 0 and *answer (NULL for none; the caller's) when it said 2xx; else the exit status, after telling
 * the person why. body is stolen. */
int api_call(const struct cli *c, const char *method, const char *path, json_t *body, json_t **answer);
/* The same for an answer in text. accept: a media type. */
int api_call_text(const struct cli *c, const char *path, const char *accept, struct buf *out);
/* Adds text to a path or query, percent-encoded. */
void api_add(struct buf *path, const char *text);
/* Adds ?limit= and &after= to a path that has `more` (a query) already or not. */
void api_add_page(const struct cli *c, struct buf *path, bool more);
/* --json: prints the answer and returns true. */
bool print_json(const struct cli *c, const json_t *answer);
/* "There are more: --after X" for a page that has a next. */
void print_next(const json_t *answer);

/* Asks on the terminal before what cannot be undone; what: "delete ann@example.org and all its mail". Without a
 * terminal and with --yes the answer is yes. false: no, and the person was told that nothing was changed. */
bool confirm(const struct cli *c, const char *what);

/* A password from --password-file, --password-stdin, or asked for twice on the terminal. NULL after telling why; the
 * caller wipes and frees it. */
char *password_get(const struct cli *c);
void password_free(char *password);

#endif
