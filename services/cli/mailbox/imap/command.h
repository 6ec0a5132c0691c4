/* Commands of an import to its source, one at a time. */
#ifndef POSTBUS_CLI_IMAP_COMMAND_H
#define POSTBUS_CLI_IMAP_COMMAND_H

#include "services/cli/mailbox/imap/source.h"

/* Tells each untagged answer. false: the connection is given up. */
typedef bool command_answer_fn(void *ctx, const struct imap_answer *answer, bool cut);

/* Reads one answer, which is valid until the next one. SOURCE_OK, or SOURCE_LOST. */
enum source_result command_read(struct source *s, struct imap_answer *answer, bool *cut);
/* Sends a command, without its tag and CRLF, and reads to its end. tell may be NULL. */
enum source_result command_run(struct source *s, struct slice command, command_answer_fn *tell, void *ctx);
/* The same; continuation is sent when the server asks for more ("+"), followed by CRLF. */
enum source_result command_continue(struct source *s, struct slice command, struct slice continuation);
/* Adds text as a quoted string; false (with why): it has a byte that a quoted string must not have. */
bool command_add_string(struct source *s, struct slice text, struct buf *out);
/* Whether the server announced this capability. */
bool command_can(const struct source *s, const char *capability);
/* Asks for the capabilities. */
enum source_result command_ask_capabilities(struct source *s);

#endif
