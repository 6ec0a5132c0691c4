/* What all drivers share: taking messages, counting answers, and the clocks. */
#include "tests/bench/verify/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/mail/header.h"

static void read_file(const char *path, struct buf *out) {
    FILE *file = fopen(path, "rb");
    size_t n;
    if (!file) {
        perror(path);
        exit(1);
    }
    do {
        n = fread(buf_reserve(out, 65536), 1, 65536, file);
        out->n += n;
    } while (n);
    out->data[out->n] = 0;
    fclose(file);
}

void samples_read(struct load *l, const char *directory) {
    struct buf list = {0};
    struct slice rest, line;
    char path[4096], name[64];
    snprintf(path, sizeof path, "%s/list", directory);
    read_file(path, &list);
    rest = buf_slice(&list);
    while (slice_cut(&rest, '\n', &line)) {
        l->samples = memory_resize(l->samples, (l->sample_count + 1) * sizeof *l->samples);
        struct sample *s = &l->samples[l->sample_count++];
        size_t body_at;
        *s = (struct sample){0};
        if (sscanf(line.p, "%63s %47s %255s %255s", name, s->ip, s->helo, s->from) != 4) {
            fprintf(stderr, "%s: a line is not whole\n", path);
            exit(1);
        }
        snprintf(path, sizeof path, "%s/%s", directory, name);
        read_file(path, &s->text);
        s->header = header_block(buf_slice(&s->text), &body_at);
        s->body = slice_skip(buf_slice(&s->text), body_at);
    }
    buf_free(&list);
    if (!l->sample_count) exit(1);
}

int64_t cpu_us(const int *pids, size_t count) {
    double per_tick = 1e6 / (double)sysconf(_SC_CLK_TCK);
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        char path[64], text[1024];
        snprintf(path, sizeof path, "/proc/%d/stat", pids[i]);
        FILE *file = fopen(path, "r");
        size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
        if (file) fclose(file);
        text[n] = 0;
        const char *behind = strrchr(text, ')'); /* the name may hold anything */
        unsigned long user, system;
        if (!behind ||
            sscanf(behind + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) {
            fprintf(stderr, "process %d is gone\n", pids[i]);
            exit(1);
        }
        sum += (int64_t)((double)(user + system) * per_tick);
    }
    return sum;
}

int64_t thread_cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t own_us(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

const struct sample *load_take(struct load *l) {
    return l->next == l->warm + l->messages ? NULL : &l->samples[(size_t)l->next++ % l->sample_count];
}

void load_done(struct load *l, bool passed, struct slice answer) {
    if (!passed && l->failed++ == 0)
        fprintf(stderr, "the first answer that does not say that every proof passes: %.*s\n", SLICE_FMT(answer));
    l->done++;
    bool begins = l->done == l->warm, ends = l->done == l->warm + l->messages;
    if (begins || ends) {
        *(begins ? &l->began.wall_us : &l->ended.wall_us) = clock_monotonic_us();
        *(begins ? &l->began.cpu_us : &l->ended.cpu_us) = cpu_us(l->pids, l->pid_count);
        *(begins ? &l->began.own_us : &l->ended.own_us) = own_us();
        *(begins ? &l->began.hashing_ns : &l->ended.hashing_ns) = l->hashing_ns;
    }
    if (ends) event_base_loopbreak(l->base);
}

bool says(struct slice text, const char *const words[], size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!text.n || !memmem(text.p, text.n, words[i], strlen(words[i]))) return false;
    return true;
}
