/* The SPF cases of tests/unit/trust/spf_cases: tables of text, so that this and the cross-check
 * against another implementation read the same. A line is one of
 *
 *   # words
 *   dns NAME TYPE DATA                                         a record; TYPE "*" is every type;
 *   DATA: SERVFAIL, TIMEOUT or NODATA too; "++": a new string of a
 * TXT case SECTION | IP | HELO | MAIL FROM | RESULT | words      "-" for HELO: client.test; "<>":
 * the null reverse-path; "HELO": the HELO identity record
 * SECTION | IP | RESULT | words | v=spf1 ...          the record of c<line>.test, mail from
 * user@c<line>.test explains TEXT of the case above it counts LOOKUPS
 * VOID python3-spf RESULT | why                                 what that gives instead, and the rule that decides
 *
 * In every field \xNN is a byte and ((N*x)) is N times x. A name with any record exists; a CNAME is
 * followed. Sections are those of RFC 7208. */
#ifndef POSTBUS_TEST_SPF_CASES_H
#define POSTBUS_TEST_SPF_CASES_H

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/trust/spf/spf.h"

enum { SPF_CASE_LINES_MAX = 2000, SPF_CASE_FILE_MAX = 1 << 20, SPF_CASE_CHAIN_MAX = 8, SPF_CASE_QUESTIONS_MAX = 1000 };

struct spf_case {
    const char *file;
    int line;
    struct slice section, ip, helo, sender, words;
    bool helo_identity;
    const char *result;
    struct slice explains;
    int lookups, voids; /* -1: any */
};

struct spf_case_record {
    struct slice name, type, data;
};

struct spf_table {
    struct arena *arena;
    struct spf_case *cases;
    size_t case_count;
    struct spf_case_record *records;
    size_t record_count;
    /* Whether each question is unknown the first time it is asked, as in life. */
    bool forgetful;
    struct slice *asked;
    size_t asked_count;
};

/* \xNN and ((N*x)). */
static struct slice unescape(struct arena *arena, struct slice s) {
    struct buf b = {0};
    while (s.n) {
        if (s.n >= 4 && s.p[0] == '\\' && s.p[1] == 'x') {
            char hex[3] = {s.p[2], s.p[3], 0};
            buf_add_char(&b, (char)strtoul(hex, NULL, 16));
            s = slice_skip(s, 4);
        } else if (slice_starts(s, SLICE("((")) && memmem(s.p, s.n, "))", 2)) {
            char *star;
            long n = strtol(s.p + 2, &star, 10);
            size_t end = (size_t)((const char *)memmem(s.p, s.n, "))", 2) - s.p);
            struct slice what = slice_make(star + 1, end - (size_t)(star + 1 - s.p));
            assert_int_equal(*star, '*');
            while (n-- > 0) buf_add_slice(&b, what);
            s = slice_skip(s, end + 2);
        } else {
            buf_add_char(&b, s.p[0]);
            s = slice_skip(s, 1);
        }
    }
    struct slice done = arena_slice(arena, buf_slice(&b));
    buf_free(&b);
    return done;
}

/* The next field up to "|", or up to a space, without spaces around it. */
static struct slice field(struct arena *arena, struct slice *rest, char end) {
    struct slice f;
    *rest = slice_trim(*rest);
    if (!slice_cut(rest, end, &f)) f = *rest, *rest = SLICE("");
    return unescape(arena, slice_trim(f));
}

static struct slice joined(struct arena *arena, struct slice data) {
    struct buf b = {0};
    const char *at;
    while (data.n && (at = memmem(data.p, data.n, "++", 2))) {
        buf_add_slice(&b, slice_head(data, (size_t)(at - data.p)));
        data = slice_skip(data, (size_t)(at - data.p) + 2);
    }
    buf_add_slice(&b, data);
    struct slice text = arena_slice(arena, buf_slice(&b));
    buf_free(&b);
    return text;
}

static const char *result_word(const char *file, int line, struct slice word) {
    for (int r = SPF_NONE; r <= SPF_PERMERROR; r++)
        if (slice_is(word, spf_result_text((enum spf_result)r))) return spf_result_text((enum spf_result)r);
    fail_msg("%s:%d: %.*s is no result", file, line, SLICE_FMT(word));
    return "";
}

static void read_line(struct spf_table *t, const char *file, int line, struct slice text) {
    struct slice rest = text, word = field(t->arena, &rest, ' ');
    if (slice_is(word, "dns")) {
        struct spf_case_record *r = &t->records[t->record_count++];
        r->name = field(t->arena, &rest, ' ');
        r->type = field(t->arena, &rest, ' ');
        r->data = joined(t->arena, unescape(t->arena, rest));
    } else if (slice_is(word, "case") || slice_is(word, "record")) {
        struct spf_case *c = &t->cases[t->case_count++];
        *c = (struct spf_case){.file = file, .line = line, .lookups = -1, .voids = -1};
        c->section = field(t->arena, &rest, '|');
        c->ip = field(t->arena, &rest, '|');
        c->helo = SLICE("client.test");
        if (slice_is(word, "case")) {
            struct slice helo = field(t->arena, &rest, '|');
            if (!slice_is(helo, "-")) c->helo = helo;
            c->sender = field(t->arena, &rest, '|');
            c->helo_identity = slice_is(c->sender, "HELO");
            if (slice_is(c->sender, "<>")) c->sender = SLICE("");
        } else {
            c->sender = slice_of(arena_printf(t->arena, "user@c%d.test", line));
        }
        c->result = result_word(file, line, field(t->arena, &rest, '|'));
        c->words = field(t->arena, &rest, '|');
        if (slice_is(word, "record"))
            t->records[t->record_count++] = (struct spf_case_record){
                slice_skip(c->sender, 5), SLICE("TXT"), joined(t->arena, unescape(t->arena, slice_trim(rest)))};
        if (!c->words.n) fail_msg("%s:%d: a case says in words what it is about", file, line);
    } else if (slice_is(word, "explains")) {
        t->cases[t->case_count - 1].explains = unescape(t->arena, rest);
    } else if (slice_is(word, "counts")) {
        sscanf(arena_copy(t->arena, rest), "%d %d", &t->cases[t->case_count - 1].lookups,
               &t->cases[t->case_count - 1].voids);
    } else if (word.n && word.p[0] != '#' && !slice_is(word, "python3-spf")) {
        fail_msg("%s:%d: the line begins with none of the words there are", file, line);
    }
}

/* Reads one file; what is wrong with it ends the test. */
static struct spf_table *spf_table_read(const char *path) {
    struct spf_table *t = memory_alloc(sizeof *t);
    t->arena = arena_create();
    t->cases = arena_alloc(t->arena, SPF_CASE_LINES_MAX * sizeof *t->cases);
    t->records = arena_alloc(t->arena, SPF_CASE_LINES_MAX * sizeof *t->records);
    t->asked = arena_alloc(t->arena, SPF_CASE_QUESTIONS_MAX * sizeof *t->asked);
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s cannot be opened", path);
    char *bytes = arena_alloc(t->arena, SPF_CASE_FILE_MAX);
    struct slice rest = slice_make(bytes, fread(bytes, 1, SPF_CASE_FILE_MAX, f)), line;
    fclose(f);
    for (int number = 1; rest.n && number < SPF_CASE_LINES_MAX; number++) {
        if (!slice_cut(&rest, '\n', &line)) line = rest, rest = SLICE("");
        read_line(t, path, number, line);
    }
    return t;
}

static void spf_table_free(struct spf_table *t) {
    arena_destroy(t->arena);
    free(t);
}

static const char *type_word(int type) {
    return type == TRUST_A      ? "A"
           : type == TRUST_AAAA ? "AAAA"
           : type == TRUST_MX   ? "MX"
           : type == TRUST_TXT  ? "TXT"
                                : "PTR";
}

static struct trust_record read_data(struct arena *arena, int type, struct slice data) {
    struct trust_record r = {.data = data};
    if (type == TRUST_A || type == TRUST_AAAA) {
        unsigned char bytes[16];
        assert_int_equal(inet_pton(type == TRUST_A ? AF_INET : AF_INET6, arena_copy(arena, data), bytes), 1);
        r.data = arena_slice(arena, slice_make(bytes, type == TRUST_A ? 4 : 16));
    } else if (type == TRUST_MX) {
        r.preference = (uint16_t)strtoul(arena_copy(arena, data), NULL, 10);
        r.data = slice_trim(slice_skip(data, (size_t)(slice_find(data, ' ') + 1)));
        if (slice_is(r.data, ".")) r.data = SLICE("");
    }
    return r;
}

static const struct trust_answer *find(struct spf_table *t, struct slice name, int type, int depth) {
    struct trust_answer *a = arena_alloc(t->arena, sizeof *a);
    struct trust_record *records = arena_alloc(t->arena, (t->record_count + 1) * sizeof *records);
    *a = (struct trust_answer){.status = TRUST_DNS_NXDOMAIN, .records = records};
    for (size_t i = 0; i < t->record_count; i++) {
        const struct spf_case_record *r = &t->records[i];
        if (!slice_equal_nocase(r->name, name)) continue;
        if (a->status == TRUST_DNS_NXDOMAIN) a->status = TRUST_DNS_NODATA;
        if (slice_is(r->type, "CNAME")) { /* a chain without end is a failure of DNS */
            if (depth < SPF_CASE_CHAIN_MAX) return find(t, r->data, type, depth + 1);
            a->status = TRUST_DNS_FAILED;
            return a;
        }
        if (!slice_is(r->type, type_word(type)) && !slice_is(r->type, "*")) continue;
        if (slice_is(r->data, "NODATA")) continue;
        if (slice_is(r->data, "SERVFAIL") || slice_is(r->data, "TIMEOUT")) {
            *a = (struct trust_answer){.status = TRUST_DNS_FAILED};
            return a;
        }
        a->status = TRUST_DNS_OK;
        records[a->count++] = read_data(t->arena, type, r->data);
    }
    return a;
}

static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    struct spf_table *t = ctx;
    if (t->forgetful) {
        struct slice question = slice_of(arena_printf(t->arena, "%d %.*s", type, SLICE_FMT(name)));
        bool known = false;
        for (size_t i = 0; i < t->asked_count && !known; i++) known = slice_equal_nocase(t->asked[i], question);
        if (!known) {
            assert_true(t->asked_count < SPF_CASE_QUESTIONS_MAX);
            t->asked[t->asked_count++] = question;
            return NULL;
        }
    }
    return find(t, name, type, 0);
}

/* What the table says, as if no question had been asked before. */
static struct trust_dns spf_table_dns(struct spf_table *t, bool forgetful) {
    t->forgetful = forgetful;
    t->asked_count = 0;
    return (struct trust_dns){look_up, t};
}

#endif
