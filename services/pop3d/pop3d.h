/* pop3d: POP3 (RFC 1939, 2449, 2595, 5034, 6856) on 110 (STLS) and 995. What is private to this folder.
 *
 * A session sees the INBOX as it was at login; what it deletes goes at QUIT. Nobody logs in without TLS.
 *
 * Bounds (law 7), with what the client gets when one is met:
 *   a command line           POP3_LINE_MAX bytes: -ERR line too long
 *   commands without sense   POP3_BAD_MAX in a session: -ERR and the end
 *   wrong passwords          POP3_FAILURES_MAX in a session: -ERR [AUTH] and the end
 *   silence                  POP3_LOGIN_TIMEOUT_MS before login, POP3_IDLE_TIMEOUT_MS after it (RFC 1939 §3): the end, nothing deleted
 *   sessions                 POP3_SESSIONS_MAX a worker: -ERR [SYS/TEMP]
 *   output not yet taken     POP3_OUTPUT_MAX bytes, then the next command waits (a single answer may be larger) */
#ifndef POSTBUS_POP3D_H
#define POSTBUS_POP3D_H

#include "libcommon/base/buf.h"
#include "libcommon/base/ulid.h"
#include "libcommon/net/stream.h"
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
};

struct pop3d {
    struct worker *worker;
    struct session *sessions;
    int count;
};

/* One message of the maildrop; its number is its place, from 1. */
struct drop {
    uint32_t uid, size;
    bool deleted, fetched;
    char blob[ULID_BYTES];
};

enum session_state { POP3_AUTHORIZATION, POP3_TRANSACTION };
enum expecting { EXPECT_COMMAND, EXPECT_PLAIN, EXPECT_LOGIN_NAME, EXPECT_LOGIN_PASSWORD };

struct session {
    struct pop3d *pop3d;
    struct stream *stream; /* NULL: it is closed, and the session is freed when nothing waits any more */
    struct session *next, *previous;
    enum session_state state;
    enum expecting expecting; /* what the next line is */
    int waits;                /* answers of bus and store on their way; no command is taken meanwhile */
    int bad, failures;
    char *name; /* of USER, or of AUTH LOGIN */
    char user[ULID_BYTES], trace[ULID_BYTES];
    uint32_t folder_id, uidvalidity;
    size_t count;
    struct drop *drops;
    uint32_t current, top_lines; /* of the RETR or TOP that runs */
    bool is_top;
};

void session_accept(struct pop3d *p, evutil_socket_t fd, bool implicit_tls);
/* Sends "-ERR text", when text is not NULL, and closes. */
void session_close(struct session *s, const char *text);
/* One line: "+OK text" or "-ERR text". */
void session_ok(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void session_err(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* An answer of bus or store is awaited; its callback begins with session_resume: false: the client is gone, do nothing
 * more. It ends with session_continue. */
void session_wait(struct session *s);
bool session_resume(struct session *s);
/* Takes the commands that wait. May free s. */
void session_continue(struct session *s);
/* "-ERR …" for what the store said. */
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
/* The message that a word names, or NULL after an -ERR. */
struct drop *drop_named(struct session *s, struct slice word);
/* maildrop.c: the INBOX opened at login; deletions done at QUIT. */
void maildrop_open(struct session *s);
void maildrop_quit(struct session *s);
/* cmd_retr.c */
void cmd_retr(struct session *s, const struct pop3_command *c);
void cmd_top(struct session *s, const struct pop3_command *c);
/* A message as the lines of a multi-line answer: lines that begin with "." get another, the last line its CRLF, then
 * "." CRLF (RFC 1939 §3). body_lines: how many lines of the body, or SIZE_MAX. */
void pop3_stuff(struct slice message, size_t body_lines, struct buf *out);

#endif
