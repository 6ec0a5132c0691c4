/* All bounds of the IMAP server, and the response when a client reaches one. */
#ifndef POSTBUS_IMAPD_LIMITS_H
#define POSTBUS_IMAPD_LIMITS_H

/* Settings with their defaults; beyond each: * BYE. */
#define LIMIT_LOGIN_TIME "2m"     /* POSTBUS_IMAP_LOGIN_TIME: from the connection to a login */
#define LIMIT_IDLE_KEEPALIVE "2m" /* POSTBUS_IMAP_IDLE_KEEPALIVE: "* OK Still here" in IDLE; networks drop silence */
#define LIMIT_PROGRESS "10s"      /* POSTBUS_IMAP_PROGRESS: a search tells how far it is each time this has passed */
#define LIMIT_COMMAND_TIME                                                                                             \
    "1m" /* POSTBUS_IMAP_COMMAND_TIME: from a command's first byte to its end, without its literals */
enum {
    LIMIT_RATE_MIN = 1024,            /* POSTBUS_IMAP_RATE_MIN: one second more for each this many
                                         bytes of literals */
    LIMIT_MEMORY = 512 * 1024 * 1024, /* POSTBUS_IMAP_MEMORY: bytes of literals that arrive and of
                                         messages that clients take slowly, in a process: NO
                                         [LIMIT] */
    LIMIT_SESSIONS_PER_USER = 1000,   /* POSTBUS_IMAP_SESSIONS_PER_USER: of one account in a worker:
                                         NO [LIMIT] at login (RFC 5530 §3) */
    LIMIT_LOGINS_PER_CLIENT = 200,    /* POSTBUS_IMAP_CONNECTIONS_PER_CLIENT: of one IPv4 address or
                                         IPv6 /64 to a process, that have not logged in */
};

/* The message of APPEND: NO [TOOBIG]; announced as APPENDLIMIT (RFC 7889). */
#define LIMIT_APPEND_BYTES 52428800

enum {
    LIMIT_LINE = 64 * 1024,     /* one line of a command: BAD "line too long" */
    LIMIT_COMMAND = 256 * 1024, /* a whole command with its literals, without the
                                   message of APPEND: BAD "command too long" */
    LIMIT_LOGIN_LITERAL = 1024, /* a literal before login: BAD */
    LIMIT_APPEND = LIMIT_APPEND_BYTES,
    LIMIT_BAD_COMMANDS = 20,                  /* invalid commands in a row: * BYE */
    LIMIT_LOGIN_FAILURES = 5,                 /* wrong passwords in a session: * BYE */
    LIMIT_SESSIONS_PER_WORKER = 20000,        /* * BYE [UNAVAILABLE] */
    LIMIT_SEARCH_DEPTH = 32,                  /* parentheses, NOT and OR inside each other: BAD */
    LIMIT_SEARCH_KEYS = 1000,                 /* keys in one search: BAD */
    LIMIT_SEARCH_WORK = 200000,               /* messages times keys that a search decides before
                                                 others have a turn */
    LIMIT_FILTERS = 50,                       /* parts of the list of mailboxes of ESEARCH or NOTIFY: BAD */
    LIMIT_FILTER_NAMES = 200,                 /* mailboxes in one of them: BAD */
    LIMIT_CONTEXTS = 10,                      /* results of which a session is told changes (UPDATE): NO
                                                 [NOUPDATE] */
    LIMIT_CONTEXT_SORTED = 20000,             /* messages in such a result of SORT: NO [NOUPDATE] */
    LIMIT_CONTEXT_BYTES = 8 * 1024 * 1024,    /* and what is compared of them: NO [NOUPDATE] */
    LIMIT_SORT_KEYS = 16,                     /* criteria of one SORT: BAD */
    LIMIT_SORT_TEXT = 1000,                   /* bytes of a subject or address that are compared */
    LIMIT_SORT_BYTES = 64 * 1024 * 1024,      /* of what SORT or THREAD compares: NO [LIMIT] */
    LIMIT_THREAD_REFERENCES = 100,            /* of a message, the last ones; others are ignored */
    LIMIT_THREAD_WORK = 20 * 1000 * 1000,     /* steps in search of loops of references; beyond, no
                                                 further reference counts */
    LIMIT_SET_RANGES = 20000,                 /* ranges in one sequence set: BAD */
    LIMIT_FETCH_ITEMS = 100,                  /* data items in one FETCH: BAD */
    LIMIT_HEADER_NAMES = 200,                 /* field names in one HEADER.FIELDS: BAD */
    LIMIT_FLAGS = 64,                         /* flags in one STORE or APPEND: BAD */
    LIMIT_ID_PAIRS = 30,                      /* in one ID: BAD (RFC 2971 §3.3) */
    LIMIT_ID_FIELD = 30,                      /* bytes of its field names: BAD */
    LIMIT_ID_VALUE = 1024,                    /* bytes of its values: BAD */
    LIMIT_LIST_PATTERNS = 50,                 /* patterns in one LIST: BAD */
    LIMIT_METADATA_NAMES = 50,                /* entries in one GETMETADATA, SETMETADATA or LIST: BAD */
    LIMIT_METADATA_NAME = 255,                /* bytes of their names: BAD */
    LIMIT_METADATA_VALUE = 16 * 1024,         /* bytes of an annotation: NO [METADATA MAXSIZE] */
    LIMIT_SECTION_DEPTH = 64,                 /* numbers in one BODY[1.2.3…]: BAD */
    LIMIT_OUTPUT_PENDING = 256 * 1024,        /* no more output is produced until the client has
                                                 received this */
    LIMIT_READ_AHEAD = 32,                    /* bodies that a FETCH requests at the same
                                                 time */
    LIMIT_READ_AHEAD_BYTES = 4 * 1024 * 1024, /* and their bytes (one may be larger) */
    LIMIT_SEARCH_AHEAD = 16,                  /* bodies that a SEARCH requests at the same time, if they
                                                 have no more than TEXT_STEP bytes together */
    LIMIT_CACHED_BATCH = 500,                 /* cached envelopes in one request, at most */
    LIMIT_CACHED_FIRST = 60,                  /* by a command's first question, before their size is
                                                 known */
    LIMIT_CACHED_BYTES = 2 * 1024 * 1024,     /* and about so many bytes of them */
    LIMIT_STEP_RECORDS = 20000,               /* messages that are compared before others have a
                                                 turn */
    LIMIT_STEP_OUTPUT = 64 * 1024,            /* and bytes that are written */
    LIMIT_UNUSED_FOLDERS = 1000,              /* copies of folders that no session has selected, in
                                                 a worker; the oldest are forgotten */
    LIMIT_UNUSED_RECORDS = 200000,            /* and the messages in them */
    LIMIT_UNUSED_FOLDER_S = 600,              /* and the time that they are kept */
    LIMIT_RECENT_RANGES = 64,                 /* ranges of uids that a session knows as recent; the
                                                 oldest are forgotten */
    LIMIT_FETCHED_RANGES = 1000,              /* separate messages of a folder whose bodies a session
                                                 has read; mail.fetched is not published for more */
    LIMIT_ANNOUNCED_EVENTS = 20,              /* mail.announced for one EXISTS; more are not
                                                 published */
    LIMIT_FETCHED_EVENTS = 200,               /* mail.fetched of a session in a minute; more are not
                                                 published */
    LIMIT_ROOM_WAIT_S = 30,                   /* a FETCH waits for room in POSTBUS_IMAP_MEMORY: NO
                                                 [LIMIT] */
    LIMIT_PRE_LOGIN_MS = 60 * 1000,           /* without a byte before login: * BYE */
    LIMIT_IDLE_MS = 30 * 60 * 1000,           /* without a byte in either direction: * BYE (RFC 9051
                                                 §5.4) */
    LIMIT_LOGIN_ANSWER_MS = 10 * 1000,        /* time for accounts to answer a login: then NO
                                                 [UNAVAILABLE] */
    LIMIT_RESYNC_S = 60,                      /* seconds after which a selected folder is looked at
                                                 though no event arrived, once for all sessions of a
                                                 worker */
    LIMIT_RELOOK_S = 5,                       /* seconds after which it is looked at again when the
                                                 store did not answer */
};

#endif
