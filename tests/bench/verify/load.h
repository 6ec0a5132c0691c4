/* The verification bench's load: the same messages given to one verifying system after another,
 * each asked in its own protocol by a driver of this folder. Every answer is read: a message for
 * which not every proof is said to pass counts as failed. */
#ifndef POSTBUS_BENCH_VERIFY_LOAD_H
#define POSTBUS_BENCH_VERIFY_LOAD_H

#include <event2/event.h>

#include "libcommon/base/buf.h"

enum { PIDS_MAX = 64, SESSIONS_MAX = 256 };

/* One message as it comes in over SMTP, with its envelope. */
struct sample {
    struct buf text;
    struct slice header, body;
    char ip[48], helo[256], from[256];
};

struct load {
    struct event_base *base;
    size_t sample_count;
    struct sample *samples;
    long warm, messages; /* asked before the clock starts, and while it runs */
    long next, done;     /* of warm + messages */
    long failed;         /* of all: an answer that does not say that all proofs pass */
    int sessions;        /* at once */
    int64_t hashing_ns;  /* CPU that hashing the bodies took, where the driver does that for the
                            system it drives */
    size_t pid_count;    /* whose CPU is the system's */
    int pids[PIDS_MAX];
    struct { /* when the clock started, and when it stopped */
        int64_t wall_us, cpu_us, own_us, hashing_ns;
    } began, ended;
};

/* What the command line says; each driver takes what it needs. */
struct settings {
    const char *nats, *password_file;   /* Postbus */
    const char *policy, *policy_config; /* the policy daemon's program; "": none */
    const char *opendkim, *opendmarc;   /* their sockets' paths */
    int per_session;                    /* messages of one SMTP session, so of one milter
                                           connection */
    int http_port;                      /* rspamd */
};

/* Reads the messages that corpus_make wrote; ends the program with a reason when it cannot. */
void samples_read(struct load *l, const char *directory);
/* Writes messages, their envelopes and the DNS records that make them pass. second_ed25519: the
 * second DKIM signature is of that algorithm. 0 or -1. */
int corpus_make(const char *directory, int count, int size, bool second_ed25519);

/* The next message to ask about; NULL when all have been taken. */
const struct sample *load_take(struct load *l);
/* One was answered. answer: in words, for the first that failed. */
void load_done(struct load *l, bool passed, struct slice answer);
/* CPU of the processes `pids`, user and system, all threads, in microseconds. */
int64_t cpu_us(const int *pids, size_t count);
/* CPU of this thread, for hashing_ns. */
int64_t thread_cpu_ns(void);
/* Whether all of the words are somewhere in text. */
bool says(struct slice text, const char *const words[], size_t count);

/* The drivers: each starts its sessions, which go on until load_take has no more. */
void drive_postbus(struct load *l, const struct settings *s);
void drive_milters(struct load *l, const struct settings *s);
void drive_rspamd(struct load *l, const struct settings *s);

#endif
