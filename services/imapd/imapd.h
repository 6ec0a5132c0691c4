/* The IMAP server's own objects: the worker, the session, and what every command uses of them. Private to this folder.
 *
 * A session does one command at a time, and runs from its loop only (libcommon/service/life.h). A command's function
 * reads its arguments, starts what is to be done in the store, and ends, now or in a callback, with session_ok/no/bad;
 * after one of these the command's memory is gone and the session may be over: return at once. The next command begins
 * from the loop, never from within.
 *
 * The store's callbacks cannot be called back, and a client may go away meanwhile. So each wait is session_wait(s)
 * before the call and `if (!session_resume(s)) return;` first in the callback; a session that is over is freed when its
 * last wait is over. */
#ifndef POSTBUS_IMAPD_IMAPD_H
#define POSTBUS_IMAPD_IMAPD_H

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"
#include "libcommon/net/stream.h"
#include "libcommon/service/clients.h"
#include "libcommon/service/life.h"
#include "libcommon/service/login_end.h"
#include "libcommon/service/service.h"
#include "libcommon/store/mailbox.h"
#include "services/imapd/budget.h"
#include "services/imapd/limits.h"
#include "services/imapd/parse.h"
#include "services/imapd/set.h"
#include "services/imapd/view.h"

struct session;

/* All sessions of one user on this worker share one subscription to the user's news. */
struct user {
    char *id;
    struct imapd *imapd;
    struct bus_subscription *news;
    struct session *sessions;
    int session_count;
    struct user *next; /* in its hash bucket */
};

enum { USER_BUCKETS = 1024 };

/* What all workers of the process share: settings, and the clients that have not logged in. */
struct imapd_process {
    int64_t login_us, command_us, keepalive_us; /* see limits.h */
    struct budget budget;
    int64_t rate_min;
    struct clients *clients;
};

/* A worker. */
struct imapd {
    struct worker *worker;
    struct imapd_process *process;
    struct session *sessions; /* open ones */
    int session_count;        /* with those that are over and wait for an answer */
    struct event *clock;
    struct login_end *login_end;
    struct user *users[USER_BUCKETS];
};

enum session_state { SESSION_STARTING, SESSION_NOT_AUTHENTICATED, SESSION_AUTHENTICATED, SESSION_SELECTED };

struct session {
    struct imapd *imapd;
    struct life life;
    struct stream *stream; /* NULL when it is over */
    struct session *previous, *next;
    struct session *user_previous, *user_next;
    struct user *user;
    enum session_state state;
    char *address;  /* of the account, after login */
    char trace[27]; /* names the session in logs */
    bool implicit_tls;
    bool tls;
    bool counted;        /* among its client's connections that have not logged in */
    bool login_ended;    /* its account's password changed, or the account is gone */
    bool drained;        /* the client has taken what was written */
    bool waits_for_room; /* in the process's memory: on_drained is called in a second */
    bool look;           /* news came for an IDLE */
    int64_t accepted_us, login_asked_us;
    int64_t command_since_us; /* when a part of a command came whose end has not; 0: none has */
    int64_t command_more_us;  /* the time that its literals have beside */

    /* Input: a command is collected until its last line, with its literals in it. */
    struct buf input;
    uint64_t literal_left;
    bool literal_refused; /* the literal that comes (LITERAL+) is thrown away, and the command with it */
    const char *refusal;  /* how such a command is answered */
    size_t input_taken;   /* of the process's memory */

    /* The command under way. */
    bool running;
    struct arena *arena; /* its memory */
    struct slice tag, name;
    bool by_uid;                                           /* UID FETCH and so on */
    void *job;                                             /* the command's own state, in the arena */
    void (*on_line)(struct session *s, struct slice line); /* takes lines while the command runs (IDLE, AUTHENTICATE) */
    void (*on_drained)(struct session *s);                 /* goes on when the client has taken what was written */
    void (*release)(struct session *s);                    /* frees what `job` has outside the arena */
    struct buf tagged;                                     /* its answer, while changes are looked for */
    void (*after_refresh)(struct session *s);

    uint64_t login_ticket;
    int bad_commands, login_failures;
    int64_t fetched_since_us; /* the minute in which fetched_told events were published */
    int fetched_told;
    struct buf out; /* what session_flush writes */

    bool rev2, condstore, qresync, utf8; /* ENABLEd (RFC 9051 §6.3.1, RFC 7162, RFC 6855) */
    struct view view;                    /* the selected folder */
    uint32_t *held;                      /* messages that are gone and may not be told yet */
    size_t held_count;
    bool hold_expunges;
    bool stale; /* news came: look before the next answer */
    bool idling;
    bool tell_exists; /* new mail was told with another command's answer: IDLE tells it again, as there are clients that
                         look for it nowhere else */
    int64_t idle_told_us; /* when IDLE last told something */
    bool refreshing;      /* a look is under way */
    int64_t refreshed_us;
    uint32_t *saved; /* "$" as uids */
    size_t saved_count;
};

/* session.c: the connection. */
void session_accept(struct imapd *i, evutil_socket_t fd, bool implicit_tls);
/* Ends the connection after `* BYE text` (NULL: without). */
void session_bye(struct session *s, const char *text);
void session_wait(struct session *s);
bool session_resume(struct session *s);
/* Writes what is in s->out. */
void session_flush(struct session *s);
/* The command's state is freed: s->release is called, and s->job is NULL. */
void session_release_job(struct session *s);
/* The user is known: the limits are those of a session that is logged in. */
void session_logged_in(struct session *s);
/* Ends sessions that take too long to log in, or to end a command that they began. */
void sessions_check_time(struct imapd *i);

/* answer.c: a command's end. `text` begins with a response code where there is one. refresh: whether the selected
 * folder's changes, also EXPUNGE, are told first. */
void session_ok(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void session_no(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void session_bad(struct session *s, const char *text);
/* As session_ok, but tells no EXPUNGE (FETCH, STORE and SEARCH by sequence number, RFC 9051 §7.5.1), and looks for
 * other changes only at the next chance. */
void session_ok_quietly(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As session_ok_quietly, but looks in any case. */
void session_ok_looking(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* NO with the words for a store error (negative enum store_error). */
void session_no_store(struct session *s, int error);
/* The folder of this name, which mailbox_folder_find() gave. NULL: the command was answered: NO with the store's
 * error, or with this response code (RFC 5530 §3, RFC 9051 §7.1) when there is none. */
const struct mailbox_folder *session_folder(struct session *s, int error, size_t count,
                                            const struct mailbox_folder folders[], struct slice name, const char *code);
/* Untagged data into s->out. */
void session_untagged(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A command that is not over: "+ text". */
void session_plus(struct session *s, const char *text);
void session_capability(struct session *s, struct buf *out);

/* dispatch.c: finds and runs the command in s->input. */
void dispatch(struct session *s);

/* refresh.c: the selected folder's news. */
/* Looks for changes and tells them, then calls s->after_refresh. */
void session_refresh(struct session *s, void (*after)(struct session *s));
void session_unselect(struct session *s);
/* Writes FLAGS (…) of a record with the folder's keywords. */
void write_flags(struct session *s, uint64_t flags);
/* The names alone. */
void write_flag_names(struct session *s, uint64_t flags);
/* An untagged FETCH with a record's uid, flags and, where the client wants it, modseq. */
void tell_flags(struct session *s, const struct mailbox_record *r);
void publish_changed(struct session *s, uint32_t folder, uint64_t modseq, const char *kind);
void publish_fetched(struct session *s, const struct mailbox_record *record);

/* vanished.c: the uids of `known` that are gone, as a set, from what mailbox_sync answered (full: the log does not
 * reach back, and every uid that is not there is given; known is resolved). */
void write_vanished(struct buf *out, const struct view *v, const struct set *known, bool full, size_t count,
                    const uint32_t vanished[]);

/* user.c */
struct user *user_join(struct session *s, struct slice id); /* NULL: too many sessions */
/* Ends the sessions of a user from their loop. */
void user_end(struct imapd *i, const char *id);
void user_leave(struct session *s);
static inline struct slice session_user(const struct session *s) { return slice_of(s->user->id); }
static inline struct redis *session_redis(const struct session *s) { return s->imapd->worker->redis; }

/* names.c: folder names of this session's encoding (modified UTF-7 or UTF-8) to the store's and back. */
/* A name from the client: false when it is not valid. "inbox" becomes "INBOX". */
bool name_from_client(struct session *s, struct slice wire, struct slice *name);
void name_to_client(struct session *s, struct slice name);

/* Reads a set and turns it into the uids of the selected folder that it names, in rising order. by_uid: the set holds
 * uids. 0; -1: bad syntax; -2: a sequence number that does not exist. */
int command_set(struct session *s, struct parser *p, uint32_t **uids, size_t *count);
/* "(\Seen work)" or "\Seen work": system flags as bits, the rest as keywords (in the arena). False: bad syntax or too
 * many. \Recent is passed over. */
struct flag_list {
    uint64_t system;
    size_t keyword_count;
    struct slice *keywords;
};
bool parse_flag_list(struct parser *p, struct flag_list *list);
/* The same for a set already parsed. */
int resolve_set(struct session *s, struct set *set, uint32_t **uids, size_t *count);

/* cmd_idle.c: a word for an idling client that has heard nothing for long. */
void idle_keep_alive(struct session *s, int64_t now);

/* Each command's function; p stands after the name. */
typedef void command_fn(struct session *s, struct parser *p);
command_fn cmd_capability, cmd_noop, cmd_logout, cmd_id, cmd_enable, cmd_namespace;
command_fn cmd_starttls, cmd_login, cmd_authenticate;
command_fn cmd_select, cmd_examine, cmd_close, cmd_unselect;
command_fn cmd_create, cmd_delete, cmd_rename, cmd_subscribe, cmd_unsubscribe, cmd_list, cmd_lsub, cmd_status;
command_fn cmd_append, cmd_idle, cmd_expunge, cmd_search, cmd_fetch, cmd_store, cmd_copy, cmd_move;
command_fn cmd_getquota, cmd_getquotaroot;

#endif
