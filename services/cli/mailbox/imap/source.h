/* Another IMAP server as the source of an import: its folders, and the messages in them. Reads only: folders are opened
 * with EXAMINE, and messages are read with BODY.PEEK. Works with any IMAP4rev1 server (RFC 3501); NAMESPACE,
 * SPECIAL-USE and ID are used where they are announced. */
#ifndef POSTBUS_CLI_IMAP_SOURCE_H
#define POSTBUS_CLI_IMAP_SOURCE_H

#include "services/cli/mailbox/imap/answer.h"
#include "services/cli/mailbox/imap/wire.h"

enum {
    SOURCE_FOLDERS_MAX = 10000,
    SOURCE_MESSAGES_MAX = 5000000, /* in a folder */
    SOURCE_IDENTITY_BYTES = 32,
};

/* Where the mail is. "imaps://" is TLS from the start, "imap://" is STARTTLS; there is no way without TLS. */
struct source_address {
    char host[256], port[8], user[256];
    bool starttls;
};
/* Reads "imaps://user@host[:port]" (RFC 5092 §3, without a mailbox). The user may have "%40" for "@", or "@" itself.
 * 0, or -1. */
int source_address_read(struct slice url, struct source_address *out);

/* What a call of the source comes to. */
enum source_result {
    SOURCE_OK,
    SOURCE_NO,      /* the server refuses this; others may go on */
    SOURCE_LOST,    /* the connection ended: connect again, and continue */
    SOURCE_DENIED,  /* it will not work at the next attempt either: wrong password, no TLS */
    SOURCE_STOPPED, /* a function of the caller said so */
};

struct source {
    const struct source_address *address;
    const char *password, *ca_file; /* ca_file NULL: the system's CAs */
    struct imap_wire wire;
    struct buf answer, capabilities;
    struct arena *arena; /* of one answer */
    unsigned tag;
    char why[1024]; /* the reason of what is not SOURCE_OK */
};

/* Connects and logs in. The password is sent after TLS has begun only. */
enum source_result source_open(struct source *s);
/* Ends the connection, if there is one; s can be opened again. */
void source_close(struct source *s);
/* The same, and frees all of s. */
void source_free(struct source *s);

struct source_folder {
    char *name;   /* as the server names it */
    char *target; /* UTF-8 with "/" between levels; NULL: the name is in no known encoding */
    char *flags;  /* of LIST, such as "\HasNoChildren \Sent" */
    bool subscribed;
};
/* The folders of the user's own that can be opened, in *folders, which source_folders_free() frees. */
enum source_result source_folders(struct source *s, struct source_folder **folders, size_t *count);
void source_folders_free(struct source_folder *folders, size_t count);

/* Opens a folder for reading. *uidvalidity: 0 when the server tells none. */
enum source_result source_examine(struct source *s, const char *name, uint32_t *uidvalidity, uint32_t *messages);

struct source_message {
    uint32_t uid;
    uint64_t size;
    int64_t date; /* seconds since 1970; -1: unknown */
    struct slice flags;
    unsigned char identity[SOURCE_IDENTITY_BYTES]; /* a digest of its Message-ID, Date, From and Subject, its size and
                                                      its INTERNALDATE: the same also after a change of UIDVALIDITY */
};
/* Tells each message of the open folder. Views are valid during the call. tell answers false to stop. */
typedef bool source_message_fn(void *ctx, const struct source_message *message);
enum source_result source_scan(struct source *s, source_message_fn *tell, void *ctx);

/* Reads the messages of a set of UIDs ("7,9,12"); tells each that comes. cut: it is larger than
 * IMAP_WIRE_LITERALS_MAX, and message is empty. */
typedef bool source_body_fn(void *ctx, uint32_t uid, struct slice message, bool cut);
enum source_result source_fetch(struct source *s, struct slice set, source_body_fn *tell, void *ctx);

#endif
