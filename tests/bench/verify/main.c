/* verify_load: makes the messages of the verification bench, and asks one system about them.
 *
 *   verify_load make --dir DIR --count 200 --size 4096 [--ed25519]
 *   verify_load postbus|milters|rspamd --dir DIR --messages N --warm N --sessions N --pids 1,2,3 …
 *
 * Prints one JSON object: {"done":…,"failed":…,"seconds":…,"cpu":…,"hashing":…,"own":…}: CPU
 * seconds of the processes asked about (with the policy daemons that the milter driver starts), of
 * the hashing of bodies that this program did for Postbus as smtpd does it, and of this program. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/log.h"
#include "tests/bench/verify/load.h"

static int usage(void) {
    fprintf(stderr, "verify_load make|postbus|milters|rspamd --dir DIR …: see the head of its source\n");
    return 64;
}

static void take_pids(struct load *l, const char *text) {
    for (char *end; *text && l->pid_count < PIDS_MAX; text = *end ? end + 1 : end) {
        l->pids[l->pid_count] = (int)strtol(text, &end, 10);
        if (end == text) return;
        l->pid_count++;
    }
}

static double seconds(int64_t us) { return (double)us / 1e6; }

int main(int argc, char **argv) {
    static const struct option options[] = {{"dir", 1, 0, 'd'},
                                            {"count", 1, 0, 'c'},
                                            {"size", 1, 0, 'b'},
                                            {"ed25519", 0, 0, 'e'},
                                            {"messages", 1, 0, 'n'},
                                            {"warm", 1, 0, 'w'},
                                            {"sessions", 1, 0, 's'},
                                            {"pids", 1, 0, 'p'},
                                            {"nats", 1, 0, 'N'},
                                            {"password-file", 1, 0, 'P'},
                                            {"policy", 1, 0, 'y'},
                                            {"opendkim", 1, 0, 'k'},
                                            {"opendmarc", 1, 0, 'm'},
                                            {"per-session", 1, 0, 'S'},
                                            {"http", 1, 0, 'h'},
                                            {"policy-config", 1, 0, 'Y'},
                                            {0}};
    struct load l = {.messages = 1000, .warm = 200, .sessions = 16};
    struct settings s = {.policy = "", .policy_config = "", .per_session = 10};
    const char *directory = NULL;
    int count = 200, size = 4096, option;
    bool ed25519 = false;
    if (argc < 2) return usage();
    const char *task = argv[1];
    optind = 2;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'd': directory = optarg; break;
        case 'c': count = atoi(optarg); break;
        case 'b': size = atoi(optarg); break;
        case 'e': ed25519 = true; break;
        case 'n': l.messages = atol(optarg); break;
        case 'w': l.warm = atol(optarg); break;
        case 's': l.sessions = atoi(optarg); break;
        case 'p': take_pids(&l, optarg); break;
        case 'N': s.nats = optarg; break;
        case 'P': s.password_file = optarg; break;
        case 'y': s.policy = optarg; break;
        case 'Y': s.policy_config = optarg; break;
        case 'k': s.opendkim = optarg; break;
        case 'm': s.opendmarc = optarg; break;
        case 'S': s.per_session = atoi(optarg); break;
        case 'h': s.http_port = atoi(optarg); break;
        default: return usage();
        }
    }
    if (!directory || l.sessions < 1 || l.sessions > SESSIONS_MAX || l.messages < 1 || l.warm < 1 || s.per_session < 1)
        return usage();
    if (strcmp(task, "make") == 0) return corpus_make(directory, count, size, ed25519) ? 1 : 0;
    samples_read(&l, directory);
    l.base = event_base_new();
    if (!l.base) memory_exhausted();
    if (strcmp(task, "postbus") == 0 && s.nats && s.password_file)
        drive_postbus(&l, &s);
    else if (strcmp(task, "milters") == 0 && s.opendkim && s.opendmarc)
        drive_milters(&l, &s);
    else if (strcmp(task, "rspamd") == 0 && s.http_port)
        drive_rspamd(&l, &s);
    else
        return usage();
    event_base_dispatch(l.base);
    if (l.done < l.warm + l.messages) {
        fprintf(stderr, "only %ld of %ld were answered\n", l.done, l.warm + l.messages);
        return 1;
    }
    printf("{\"done\":%ld,\"failed\":%ld,\"seconds\":%.3f,\"cpu\":%.3f,\"hashing\":%.4f,\"own\":%.3f}\n", l.messages,
           l.failed, seconds(l.ended.wall_us - l.began.wall_us), seconds(l.ended.cpu_us - l.began.cpu_us),
           (double)(l.ended.hashing_ns - l.began.hashing_ns) / 1e9, seconds(l.ended.own_us - l.began.own_us));
    fflush(stdout);
    _Exit(l.failed ? 1 : 0); /* connections and what is in flight go with the process */
}
