/* The load of the bench.
 *
 *   drive deliver  --smtp A --imap A            accepted and visible messages a second
 *   drive relay    --submission A --sink A      messages a second through to another site's server,
 *                  which it is itself
 *   drive latency  --smtp A --imap A            one at a time: to the 250, and to EXISTS in IDLE
 *   drive logins   --imap A                     TLS connections with LOGIN, for --seconds or one
 *                  for each of --messages accounts
 *
 * Addresses as 192.0.2.1:25. Further: --imap-tls --user u%d@bench.test --password P --from F
 * --remote r%d@remote.test --sessions N --messages N --mailboxes N --size BYTES. Each prints READY,
 * waits for a line on standard input, and ends with one JSON object. Exit status 1: something was
 * lost or refused; then there is no object. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "libcommon/base/arena.h"
#include "tests/bench/drive/drive.h"

enum { THREADS_MAX = 1000 };

static double cpu_at_ready;

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

void drive_ready(void) {
    char line[16];
    puts("READY");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) drive_fail("nobody said go");
    cpu_at_ready = cpu_seconds();
}

void drive_address(char *out, size_t size, const char *pattern, int number) {
    const char *at = strstr(pattern, "%d");
    if (at)
        snprintf(out, size, "%.*s%d%s", (int)(at - pattern), pattern, number, at + 2);
    else
        snprintf(out, size, "%s", pattern);
}

void drive_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("drive: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void drive_answer(const char *format, ...) {
    va_list arguments;
    putchar('{');
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf(",\"driver_s\":%.3f}\n", cpu_seconds() - cpu_at_ready);
    fflush(stdout);
}

void drive_threads(int count, void *(*work)(void *), void *ctx) {
    pthread_t threads[THREADS_MAX];
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, work, ctx)) drive_fail("no thread");
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

double percentile_ms(int64_t *times_us, size_t count, double share) {
    if (!count) return 0;
    qsort(times_us, count, sizeof *times_us, by_value);
    return (double)times_us[(size_t)(share * (double)(count - 1) + 0.5)] / 1000;
}

static int number(const char *text, int least, int most) {
    int n = atoi(text);
    if (n < least || n > most) drive_fail("%s is not between %d and %d", text, least, most);
    return n;
}

static void read_options(struct drive *d, int argc, char **argv) {
    static const struct option options[] = {
        {"smtp", 1, 0, 'p'},     {"submission", 1, 0, 's'}, {"imap", 1, 0, 'i'},
        {"sink", 1, 0, 'k'},     {"imap-tls", 0, 0, 't'},   {"user", 1, 0, 'u'},
        {"password", 1, 0, 'w'}, {"from", 1, 0, 'f'},       {"remote", 1, 0, 'r'},
        {"sessions", 1, 0, 'c'}, {"messages", 1, 0, 'n'},   {"mailboxes", 1, 0, 'm'},
        {"size", 1, 0, 'b'},     {"seconds", 1, 0, 'd'},    {0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) switch (option) {
        case 'p': d->smtp = address_read(optarg); break;
        case 's': d->submission = address_read(optarg); break;
        case 'i': d->imap = address_read(optarg); break;
        case 'k': d->sink = address_read(optarg); break;
        case 't': d->imap_tls = true; break;
        case 'u': d->user = optarg; break;
        case 'w': d->password = optarg; break;
        case 'f': d->from = optarg; break;
        case 'r': d->remote = optarg; break;
        case 'c': d->sessions = number(optarg, 1, THREADS_MAX); break;
        case 'n': d->messages = number(optarg, 0, 1000000); break;
        case 'm': d->mailboxes = number(optarg, 1, 100000); break;
        case 'b': d->size = number(optarg, 1500, 50000000); break;
        case 'd': d->seconds = number(optarg, 1, 600); break;
        default: exit(64);
        }
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(const struct drive *);
    } measures[] = {{"deliver", measure_deliver},
                    {"relay", measure_relay},
                    {"latency", measure_latency},
                    {"logins", measure_logins}};
    struct drive d = {.user = "u%d@bench.test",
                      .password = "secret",
                      .remote = "r%d@remote.test",
                      .from = "sender@load.test",
                      .sessions = 1,
                      .mailboxes = 100,
                      .size = 4096,
                      .seconds = 8};
    signal(SIGPIPE, SIG_IGN);
    read_options(&d, argc, argv);
    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++)
        if (optind < argc && !strcmp(argv[optind], measures[i].name)) {
            measures[i].run(&d);
            return 0;
        }
    drive_fail("the first argument is one of deliver, relay, latency, logins");
}
