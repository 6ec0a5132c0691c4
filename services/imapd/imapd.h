/* The objects of the IMAP server: the worker, the session, and the functions that commands use.
 * Private to this folder.
 *
 * A session executes one command at a time, and only from its loop (libcommon/service/life.h). A
 * command's function reads its arguments, starts requests to the store, and ends, at once or in a
 * callback, with session_ok/no/bad. After one of these the command's memory is freed and the
 * session may have ended, so the caller must return at once. The next command begins from the loop,
 * never inside another.
 *
 * Requests to the store cannot be cancelled, and a client may disconnect in the meantime. So each
 * request needs session_wait(s) before the call, and `if (!session_resume(s)) return;` at the start
 * of the callback. A session that has ended is freed after its last wait. */
#ifndef POSTBUS_IMAPD_IMAPD_H
#define POSTBUS_IMAPD_IMAPD_H

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"
#include "libcommon/net/stream.h"
#include "libcommon/service/clients.h"
#include "libcommon/service/life.h"
#include "libcommon/service/logins.h"
#include "libcommon/service/service.h"
#include "libcommon/store/mailbox.h"
#include "services/imapd/budget.h"
#include "services/imapd/limits.h"
#include "services/imapd/syntax/parse.h"
#include "services/imapd/syntax/set.h"
#include "services/imapd/view/view.h"

struct session;
struct context;

/* All sessions of one user on this worker share one subscription to the user's events. */
struct user {
    char *id;
    struct imapd *imapd;
    struct bus_subscription *news;
    struct session *sessions;
    int session_count;
    struct user *next; /* in its hash bucket */
};

enum { USER_BUCKETS = 1024 };

/* Shared by all workers of the process: settings, and the clients that have not logged in. */
struct imapd_process {
    int64_t login_us, command_us, keepalive_us, progress_us; /* see limits.h */
    struct budget budget;
    int64_t rate_min;
    int sessions_per_user;
    struct clients *clients;
};

/* A worker. */
struct imapd {
    struct worker *worker;
    struct imapd_process *process;
    struct session *sessions; /* open ones */
    int session_count;        /* including ended ones that wait for an answer */
    struct event *clock;
    struct logins *logins;
    struct snapshots *snapshots; /* of selected folders */
    struct user *users[USER_BUCKETS];
};

/* What follows from the changes of the selected folder that a client is told; search/context.c. */
struct follower {
    /* Before removals are told that lead from the view to this version. */
    void (*before_removals)(struct session *s, const struct version *to);
    /* Whether the client was told of changes that it has not followed yet. */
    bool (*is_behind)(const struct session *s);
    /* Follows them; calls done, at once or later. The running command's job is released. */
    void (*follow)(struct session *s, void (*done)(struct session *s));
    /* Another folder is selected, or none, or the session ends. */
    void (*end)(struct session *s);
};

enum session_state { SESSION_STARTING, SESSION_NOT_AUTHENTICATED, SESSION_AUTHENTICATED, SESSION_SELECTED };

struct session {
    struct imapd *imapd;
    struct life life;
    struct stream *stream; /* NULL after its end */
    struct session *previous, *next;
    struct session *user_previous, *user_next;
    struct user *user;
    enum session_state state;
    char *address; /* of the account, after login */
    struct login validity;
    char trace[27]; /* identifies the session in logs */
    bool implicit_tls;
    bool tls;
    bool counted;        /* counted among its client's connections that have not logged in */
    bool drained;        /* the client has taken what was written */
    bool compress;       /* after the response of COMPRESS */
    bool waits_for_room; /* in the process's memory: on_drained is called in a second */
    int64_t accepted_us, login_asked_us;
    int64_t command_since_us; /* time at which an incomplete command began; 0: there is none */
    int64_t command_more_us;  /* additional time for its literals */

    /* Input: a command is collected up to its last line, including its literals. */
    struct buf input;
    uint64_t literal_left;
    bool literal_refused; /* the next literal (LITERAL+) is discarded together with the command */
    const char *refusal;  /* the response to such a command */
    size_t input_taken;   /* of the process's memory */

    /* The running command. */
    bool running;
    struct arena *arena; /* its memory */
    struct slice tag, name;
    bool by_uid;                                           /* UID FETCH and so on */
    void *job;                                             /* the command's own state, in the
                                                              arena */
    void (*on_line)(struct session *s, struct slice line); /* receives lines while the command runs
                                                              (IDLE, AUTHENTICATE) */
    void (*on_drained)(struct session *s);                 /* continues when all output was sent */
    void (*release)(struct session *s);                    /* frees what `job` has outside the
                                                              arena */
    struct buf tagged;                                     /* its response while changes are told */
    bool (*step)(struct session *s);                       /* session_steps */
    void (*stepped)(struct session *s);
    void (*later)(struct session *s); /* session_later */

    uint64_t login_ticket;
    int bad_commands, login_failures;
    int64_t fetched_since_us; /* the minute in which fetched_told events were published */
    int fetched_told;
    struct buf out; /* output that session_flush sends */

    bool rev2, condstore, qresync, utf8, uidonly; /* ENABLEd (RFC 9051 §6.3.1, RFC 7162, RFC 6855, RFC 9586) */
    struct view view;                             /* the selected folder */
    struct telling *telling;                      /* what is being told of it; NULL: nothing */
    bool idling;
    uint32_t exists_heard_uid;           /* the last message of which an EXISTS was told at SELECT or in IDLE */
    uint32_t recent_bound, recent_after; /* session_take_recent */
    void (*recent_done)(struct session *s);
    int64_t idle_told_us;            /* time of the last response during IDLE */
    const struct follower *follower; /* NULL: none */
    struct context *contexts;        /* searches whose changes are told (search/context.h) */
    uint32_t *saved;                 /* "$" as uids */
    size_t saved_count;
};

/* connection.c */
void session_accept(struct imapd *i, evutil_socket_t fd, const struct sockaddr *client, bool implicit_tls);
/* Ends sessions that take too long to log in, or to complete a command. */
void sessions_check_time(struct imapd *i);

/* session.c */
/* Ends the connection with `* BYE text` (NULL: without it). */
void session_bye(struct session *s, const char *text);
/* The client has closed the connection: the session ends. */
void session_cut(struct session *s);
void session_wait(struct session *s);
bool session_resume(struct session *s);
/* Untagged data into s->out. */
void session_untagged(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Continuation request of a running command: "+ text". */
void session_plus(struct session *s, const char *text);
/* Sends s->out. */
void session_flush(struct session *s);
/* The command's state is freed: s->release is called, and s->job is NULL. */
void session_release_job(struct session *s);
/* Calls fn in a later turn of the loop, after what else is due; not after the session's end. One at
 * a time. */
void session_later(struct session *s, void (*fn)(struct session *s));
void session_in_a_second(struct session *s, void (*fn)(struct session *s));
/* Long work in pieces: calls step until it returns true, then done. Between two calls the output is
 * sent, other sessions have a turn, and the client takes what it was sent (LIMIT_OUTPUT_PENDING). A
 * step handles about LIMIT_STEP_RECORDS messages or writes about LIMIT_STEP_OUTPUT bytes. */
void session_steps(struct session *s, bool (*step)(struct session *s), void (*done)(struct session *s));
/* Sets the limits of a session that is logged in. */
void session_logged_in(struct session *s);
/* Back to the state before the login; all but TLS is forgotten. False: the client has too many
 * connections in this state already. */
bool session_logged_out(struct session *s);

/* answer.c: the end of a command. `text` begins with a response code if there is one. refresh:
 * whether changes of the selected folder, including EXPUNGE, are reported first. */
void session_ok(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void session_no(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void session_bad(struct session *s, const char *text);
/* As session_ok, but reports no EXPUNGE (FETCH, STORE and SEARCH by sequence number, RFC 9051
 * §7.5.1), and checks for other changes only if an event has arrived. */
void session_ok_quietly(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* To session_bad: a message number after ENABLE UIDONLY (RFC 9586). */
#define UID_REQUIRED "[UIDREQUIRED] Message numbers are not allowed after ENABLE UIDONLY"
/* NO with the text of a store error (negative enum store_error). */
void session_no_store(struct session *s, int error);
/* The folder of this name, as mailbox_folder_find() gave it. NULL: the command was answered: NO
 * with the store's error, or with this response code (RFC 5530 §3, RFC 9051 §7.1) if there is no
 * such folder. */
const struct mailbox_folder *session_folder(struct session *s, int error, size_t count,
                                            const struct mailbox_folder folders[], struct slice name, const char *code);
/* Adds the present capabilities (RFC 9051 §7.2.2). */
void session_capability(struct session *s, struct buf *out);

/* dispatch.c: finds and runs the command in s->input. */
void dispatch(struct session *s);

/* view/tell.c: changes of the selected folder. */
/* The session's view is of this folder from now on; session_unselect ends that. */
void session_select(struct session *s, uint32_t folder_id);
void session_unselect(struct session *s);
/* Tells the client what changed, then calls after (NULL: nothing). look: after a read of the store;
 * otherwise what the worker knows. expunges: whether removals may be told (RFC 9051 §7.5.1); they
 * stay in the view otherwise. Not while s->telling. */
void session_tell(struct session *s, bool look, bool expunges, void (*after)(struct session *s));
/* If something is being told, calls this after it. False: nothing is. */
bool session_tell_later(struct session *s, void (*after)(struct session *s));
/* Frees what the session holds for it; at the end of the session. */
void session_telling_end(struct session *s);
/* Writes FLAGS (…) with the folder's keywords. */
void write_flags(struct session *s, uint64_t flags);
/* The same of a message, with \Recent. */
void write_flags_of(struct session *s, const struct mailbox_record *r);
/* Only the names. */
void write_flag_names(struct session *s, uint64_t flags);
/* The beginning of an untagged FETCH of a message; after ENABLE UIDONLY, of a UIDFETCH, which has no
 * sequence number (RFC 9586). with_uid: the UID item too, where the response does not name it. Returns
 * the space that the next item needs before it, if any. */
const char *write_fetch_start(struct session *s, size_t sequence, uint32_t uid, bool with_uid);
/* An untagged FETCH with a record's uid, flags and, if the client enabled it, modseq. */
void tell_flags(struct session *s, const struct mailbox_record *r);
/* EXISTS and, before IMAP4rev2, RECENT. */
void tell_exists(struct session *s);
void publish_changed(struct session *s, uint32_t folder, uint64_t modseq, const char *kind);
void publish_fetched(struct session *s, const struct mailbox_record *record);

/* view/recent.c: notes in the view which of the messages after this uid, of which the client is going
 * to be told, are recent; then calls done, at once or later. */
void session_take_recent(struct session *s, const struct version *to, uint32_t after, void (*done)(struct session *s));

/* view/vanished.c: writes the uids of `known` that have vanished, as a set, from the answer of
 * mailbox_sync (full: the log does not reach back far enough, and every uid that does not exist is
 * written; known must be resolved). */
void write_vanished(struct buf *out, const struct view *v, const struct set *known, bool full, size_t count,
                    const uint32_t vanished[]);

/* user.c */
struct user *user_join(struct session *s, struct slice id); /* NULL: too many sessions */
void user_leave(struct session *s);
static inline struct slice session_user(const struct session *s) { return slice_of(s->user->id); }
static inline struct redis *session_redis(const struct session *s) { return s->imapd->worker->redis; }

/* names.c: folder names of this session's encoding (modified UTF-7 or UTF-8) to the store's and
 * back. */
/* A name from the client: false when it is not valid. "inbox" becomes "INBOX". */
bool name_from_client(struct session *s, struct slice wire, struct slice *name);
void name_to_client(struct session *s, struct slice name);

/* Reads a set and converts it to uids of the selected folder, in ascending order. by_uid: the set
 * has uids. 0; -1: bad syntax; -2: a sequence number that does not exist. */
int command_set(struct session *s, struct parser *p, uint32_t **uids, size_t *count);
/* "(\Seen work)" or "\Seen work": system flags as bits, the rest as keywords (in the arena). False:
 * bad syntax or too many. \Recent is ignored. */
struct flag_list {
    uint64_t system;
    size_t keyword_count;
    struct slice *keywords;
};
bool parse_flag_list(struct parser *p, struct flag_list *list);
/* The same for a set already parsed. */
int resolve_set(struct session *s, struct set *set, uint32_t **uids, size_t *count);

/* flag_list.c: a special use that a folder may have (RFC 6154 §2), as the store writes it; empty:
 * none. */
struct slice special_use_of(struct slice name);

/* cmd_idle.c: a response for a client in IDLE that has received none for a long time. */
void idle_keep_alive(struct session *s, int64_t now);

/* Each command's function; p is after the name. */
typedef void command_fn(struct session *s, struct parser *p);
command_fn cmd_capability, cmd_noop, cmd_logout, cmd_compress, cmd_id, cmd_enable, cmd_namespace, cmd_unauthenticate;
command_fn cmd_starttls, cmd_login, cmd_authenticate;
command_fn cmd_select, cmd_examine, cmd_close, cmd_unselect;
command_fn cmd_create, cmd_delete, cmd_rename, cmd_subscribe, cmd_unsubscribe, cmd_list, cmd_lsub, cmd_status;
command_fn cmd_replace, cmd_append, cmd_idle, cmd_expunge, cmd_search, cmd_esearch, cmd_fetch, cmd_store, cmd_copy,
    cmd_move;
command_fn cmd_sort, cmd_thread, cmd_cancelupdate;
command_fn cmd_getquota, cmd_getquotaroot, cmd_setquota;
command_fn cmd_getmetadata, cmd_setmetadata;

#endif
