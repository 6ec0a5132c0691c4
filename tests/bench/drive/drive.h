/* drive: the load of the bench, the same for every mail server. Each measure is a file; what they
 * share is here. */
#ifndef POSTBUS_BENCH_DRIVE_H
#define POSTBUS_BENCH_DRIVE_H

#include <stdint.h>

#include "libcommon/base/buf.h"
#include "tests/bench/drive/connection.h"

/* The command line. */
struct drive {
    struct sockaddr_in smtp, submission, imap, sink;
    bool imap_tls;                           /* LOGIN needs TLS on the port of `imap` */
    const char *user, *password, *remote;    /* user, remote: addresses with a %d in them */
    const char *from;                        /* reverse-path on port 25 */
    int sessions, messages, mailboxes, size; /* size: bytes of a message, about */
    int seconds;
};

/* Prints READY and waits for a line: whatever has to be there before the clock starts is done
 * now. */
void drive_ready(void);
/* Prints the one JSON object, of these fields and "driver_s", the CPU time of this process since
 * drive_ready(). */
void drive_answer(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "user%d@bench.test" and 7: "user7@bench.test". */
void drive_address(char *out, size_t size, const char *pattern, int number);
[[noreturn]] void drive_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Runs so many threads of work(ctx) and waits for all. */
void drive_threads(int count, void *(*work)(void *), void *ctx);

/* Times in microseconds, sorted on the spot; 0 of nothing. */
double percentile_ms(int64_t *times_us, size_t count, double share);

/* message.c: text of message `number` of this run with its final dot, CRLF throughout; no two are
 * alike. */
void message_write(struct buf *out, const char *from, const char *to, int size, int number);

/* smtp.c: a session as a client. */
struct smtp {
    struct connection *connection;
    int64_t end_us;    /* when the last byte of the last message had been written */
    int64_t answer_us; /* when its answer was read */
};
/* Greeting and EHLO; with login also STARTTLS and AUTH. -1: failed, and closed. */
int smtp_open(struct smtp *s, const struct sockaddr_in *to, const char *login, const char *password);
/* One transaction. 0; -1: refused or broken, and closed. */
int smtp_send(struct smtp *s, const char *from, const char *to, struct slice message);
void smtp_close(struct smtp *s);

/* imap.c: a session as a client. */
struct imap {
    struct connection *connection;
    int tag;
    long exists, messages; /* of the last EXISTS and STATUS */
};
/* Connects and logs in. -1: failed, and closed. */
int imap_open(struct imap *s, const struct drive *d, int user);
/* A command to its tagged OK; -1: anything else. */
int imap_command(struct imap *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Messages in INBOX; -1. */
long imap_count(struct imap *s);
/* Deletes everything in INBOX. */
int imap_purge(struct imap *s);
/* IDLE up to its "+". */
int imap_idle(struct imap *s);
/* Waits for the next EXISTS in IDLE. */
int imap_await_exists(struct imap *s);
void imap_close(struct imap *s);

/* sink.c: the remote server of the relay measure. Counts are read with sink_count(). */
void sink_start(const struct sockaddr_in *at);
struct sink_count {
    int messages, connections;
    int64_t last_us; /* when the last message had come */
};
struct sink_count sink_count(void);

/* load.c: messages over sessions at once. */
struct load {
    const struct drive *drive;
    bool relay; /* over submission, to `remote` */
    _Atomic int next, accepted, refused;
    _Atomic int64_t last_us;
    int64_t *latency_us; /* from MAIL to the answer to the end of the message */
};
void load_run(struct load *l);

/* The measures; each prints one JSON object. */
void measure_deliver(const struct drive *d);
void measure_relay(const struct drive *d);
void measure_latency(const struct drive *d);
void measure_logins(const struct drive *d);

#endif
