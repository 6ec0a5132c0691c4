/* pop3d: POP3 (RFC 1939, 2449, 2595, 5034, 6856) on 110 (STLS) and 995. Private to this folder.
 *
 * A session sees the INBOX as it was at login, and has its lock; messages that it deletes are
 * removed at QUIT. A login requires TLS.
 *
 * Bounds (docs/laws.md, law 7), and the reply when one is reached:
 *   a command line           POP3_LINE_MAX bytes: -ERR line too long
 *   invalid commands         POP3_BAD_MAX in a session: -ERR and the end
 *   wrong passwords          POP3_FAILURES_MAX in a session: -ERR [AUTH] and the end
 *   idle time                POP3_LOGIN_TIMEOUT_MS before login, POP3_IDLE_TIMEOUT_MS after it (RFC
 *                            1939 §3): the end, nothing deleted
 *   a login                  POSTBUS_POP3_LOGIN_TIME from the connection on: -ERR [SYS/TEMP] and
 *                            the end
 *   a command line           POSTBUS_POP3_COMMAND_TIME from its first byte on: -ERR [SYS/TEMP] and
 *                            the end, nothing deleted
 *   a client's connections   POSTBUS_POP3_CONNECTIONS_PER_CLIENT of one IPv4 address or IPv6 /64 to
 *                            a process, that have not logged in: -ERR [SYS/TEMP]
 *   sessions of a maildrop   one: -ERR [IN-USE]
 *   sessions                 POP3_SESSIONS_MAX a worker: -ERR [SYS/TEMP]
 *   unsent output            POP3_OUTPUT_MAX bytes, then the next command waits (a single answer
 *                            may be larger) */
#ifndef POSTBUS_POP3D_H
#define POSTBUS_POP3D_H

#include "libcommon/base/buf.h"
#include "libcommon/base/ulid.h"
#include "libcommon/net/stream.h"
#include "libcommon/service/clients.h"
#include "libcommon/service/life.h"
#include "libcommon/service/logins.h"
#include "libcommon/service/scram.h"
#include "libcommon/service/service.h"
#include "libcommon/store/mailbox.h"
#include "services/pop3d/command.h"

enum {
    POP3_LINE_MAX = 4096,
    POP3_BAD_MAX = 20,
    POP3_FAILURES_MAX = 5,
    POP3_LOGIN_TIMEOUT_MS = 60 * 1000,
    POP3_IDLE_TIMEOUT_MS = 10 * 60 * 1000,
    POP3_SESSIONS_MAX = 10000,
    POP3_OUTPUT_MAX = 256 * 1024,
    POP3_LOGIN_WAIT_MS = 8 * 1000,
    POP3_LOCK_MS = 60 * 1000, /* the lock of a maildrop expires after this; it is extended earlier */
};

#define POP3_LOGIN_TIME "2m"
#define POP3_COMMAND_TIME "1m"
enum { POP3_LOGINS_PER_CLIENT = 200 };

/* Shared by all workers of the process: settings, and the clients that have not logged in. */
struct pop3d_process {
    int64_t login_us, command_us;
    struct clients *clients;
};

struct pop3d {
    struct worker *worker;
    struct pop3d_process *process;
    struct logins *logins;
    struct event *clock;
    struct session *sessions;
    int count;
};

/* One message of the maildrop; its number is its position, from 1. */
struct drop {
    uint32_t uid, size;
    bool deleted, fetched;
    char blob[ULID_BYTES];
};

enum session_state { POP3_AUTHORIZATION, POP3_TRANSACTION };
enum expecting { EXPECT_COMMAND, EXPECT_PLAIN, EXPECT_LOGIN_NAME, EXPECT_LOGIN_PASSWORD, EXPECT_SCRAM };

struct session {
    struct pop3d *pop3d;
    struct life life;
    struct stream *stream; /* NULL after its end */
    struct session *next, *previous;
    enum session_state state;
    enum expecting expecting; /* the meaning of the next line */
    bool waiting;             /* an answer of the bus or the store is pending; no command is read
                                 meanwhile */
    bool counted;             /* counted among its client's connections that have not logged in */
    int bad, failures;
    int64_t accepted_us, login_asked_us;
    int64_t command_since_us; /* time at which an incomplete line began; 0: there is none */
    char *name;               /* of USER, or of AUTH LOGIN */
    struct scram scram;       /* the running exchange of AUTH SCRAM-SHA-256 */
    enum { SCRAM_FIRST, SCRAM_FINAL, SCRAM_LAST } scram_step; /* its next message */
    char user[ULID_BYTES], trace[ULID_BYTES];
    struct login validity;
    bool locked; /* has the lock of the maildrop, until lock_end_us by this process's clock */
    int64_t lock_asked_us, lock_end_us;
    void (*locked_then)(struct session *s);
    uint32_t folder_id, uidvalidity;
    size_t count;
    struct drop *drops;
    uint32_t current, top_lines; /* of the running RETR or TOP */
    bool is_top;
};

/* connection.c */
void session_accept(struct pop3d *p, evutil_socket_t fd, const struct sockaddr *client, bool implicit_tls);

/* session.c */
/* Sends "-ERR text" if text is not NULL, and closes: the session has ended, and is freed from the
 * loop. */
void session_close(struct session *s, const char *text);
/* The same at once: the client has closed the connection. */
void session_cut(struct session *s);
/* The maildrop is open: sets the limits of a session that is logged in. */
void session_logged_in(struct session *s);
/* Ends sessions that take too long to log in, or to complete a line. */
void sessions_check_time(struct pop3d *p);
/* One line: "+OK text" or "-ERR text". */
void session_ok(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void session_err(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Must be called before a request to the bus or the store. Its callback begins with session_resume,
 * which returns false when the session has ended; the callback must then return. If the callback
 * starts no further request, the session continues from its loop (libcommon/service/life.h). */
void session_wait(struct session *s);
bool session_resume(struct session *s);
/* "-ERR …" for an error of the store. */
void session_store_err(struct session *s, int error);

/* cmd_auth.c: before login. */
void cmd_capa(struct session *s);
void cmd_stls(struct session *s);
void cmd_user(struct session *s, const struct pop3_command *c);
void cmd_pass(struct session *s, const struct pop3_command *c);
void cmd_auth(struct session *s, const struct pop3_command *c);
void auth_line(struct session *s, struct slice line);
/* cmd_list.c: STAT, LIST, UIDL, DELE, RSET. */
void cmd_stat(struct session *s);
void cmd_list(struct session *s, const struct pop3_command *c);
void cmd_uidl(struct session *s, const struct pop3_command *c);
void cmd_dele(struct session *s, const struct pop3_command *c);
void cmd_rset(struct session *s);
/* The message with this number, or NULL after an -ERR. */
struct drop *drop_named(struct session *s, struct slice word);
/* cmd_lang.c */
void cmd_lang(struct session *s, const struct pop3_command *c);
/* lock.c: takes the lock of the user's maildrop, then calls this. */
void lock_take(struct session *s, void (*then)(struct session *s));
bool lock_holds(const struct session *s);
/* Extends the locks for which it is time; ends sessions whose lock has expired. */
void locks_keep(struct pop3d *p);
void lock_release(struct session *s);
/* maildrop.c: the INBOX opened at login; deletions done at QUIT. */
void maildrop_open(struct session *s);
void maildrop_quit(struct session *s);
/* cmd_retr.c */
void cmd_retr(struct session *s, const struct pop3_command *c);
void cmd_top(struct session *s, const struct pop3_command *c);
/* Writes a message as a multi-line response: lines that begin with "." get another ".", a last line
 * without CRLF gets one, then "." CRLF (RFC 1939 §3). body_lines: the number of lines of the body,
 * or SIZE_MAX. */
void pop3_stuff(struct slice message, size_t body_lines, struct buf *out);

#endif
