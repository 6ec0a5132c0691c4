/* Versions of a folder: random changes against a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/imapd/limits.h"
#include "services/imapd/view/view.h"

enum { MESSAGES = 2000, ROUNDS = 300 };

/* What a folder has, by uid: modseq 0: no such message. */
struct plain {
    uint64_t modseq[MESSAGES], flags[MESSAGES];
    uint32_t uidnext;
    uint64_t highest;
};

static struct mailbox_folder folder_of(const struct plain *p) {
    return (struct mailbox_folder){.id = 1, .uidvalidity = 7, .uidnext = p->uidnext, .highestmodseq = p->highest};
}

static struct mailbox_record record_of(const struct plain *p, uint32_t uid) {
    return (struct mailbox_record){.uid = uid, .modseq = p->modseq[uid], .flags = p->flags[uid]};
}

static void assert_same(const struct version *v, const struct plain *p) {
    size_t index = 0, found;
    for (uint32_t uid = 1; uid < p->uidnext; uid++) {
        const struct mailbox_record *r = version_find(v, uid, &found);
        assert_int_equal(version_lower(v, uid), index);
        if (!p->modseq[uid]) {
            assert_null(r);
            continue;
        }
        assert_non_null(r);
        assert_int_equal(found, index);
        assert_ptr_equal(version_at(v, index), r);
        assert_int_equal(r->flags, p->flags[uid]);
        assert_int_equal(r->modseq, p->modseq[uid]);
        index++;
    }
    assert_int_equal(v->count, index);
}

/* Changes some messages, and returns the version after that. */
static struct version *change(struct plain *p, const struct version *before) {
    static struct mailbox_record records[MESSAGES];
    static uint32_t gone[MESSAGES];
    struct plain old = *p;
    size_t count = 0, gone_count = 0;
    int changes = rand() % 20, width = rand() % 3 ? 5 : MESSAGES;
    for (int n = 0; n < changes; n++) {
        uint32_t near = p->uidnext > 1 ? 1 + (uint32_t)rand() % (p->uidnext - 1) : 1;
        int kind = rand() % 3;
        for (uint32_t uid = near; uid < p->uidnext && uid < near + (uint32_t)(rand() % width); uid++) {
            if (!p->modseq[uid] || kind == 0) continue;
            p->modseq[uid] = kind == 1 ? ++p->highest : 0;
            p->flags[uid] = (uint64_t)rand() % 32;
        }
        if (kind == 0 && p->uidnext < MESSAGES - 1) p->modseq[p->uidnext++] = ++p->highest;
    }
    p->highest++;
    for (uint32_t uid = 1; uid < p->uidnext; uid++) {
        if (p->modseq[uid] && p->modseq[uid] != old.modseq[uid]) records[count++] = record_of(p, uid);
        if (!p->modseq[uid] && old.modseq[uid]) gone[gone_count++] = uid;
    }
    struct mailbox_folder folder = folder_of(p);
    return version_after(before, &folder, false, count, records, gone_count, gone);
}

/* Goes through the differences as a client hears them: what it has afterwards is the new state. */
static void assert_told(const struct version *told, const struct version *now) {
    static uint32_t client[MESSAGES];
    size_t n = 0, work = 0;
    for (size_t i = 0; i < told->count; i++) client[n++] = version_at(told, i)->uid;
    struct difference d = {.told = told, .now = now};
    for (bool more = true; more;) {
        work = 10; /* in pieces */
        while (difference_next(&d, &work)) {
            if (!d.from) {
                client[n++] = d.to->uid;
            } else if (!d.to) {
                assert_int_equal(client[d.kept], d.from->uid);
                memmove(client + d.kept, client + d.kept + 1, (n - d.kept - 1) * sizeof *client);
                n--;
            } else {
                assert_int_equal(client[d.kept - 1], d.to->uid);
            }
        }
        more = work == 0;
    }
    assert_int_equal(n, now->count);
    for (size_t i = 0; i < n; i++) assert_int_equal(client[i], version_at(now, i)->uid);
}

static void versions_follow_the_folder(void **state) {
    static struct plain p;
    (void)state;
    for (unsigned seed = 1; seed <= 5; seed++) {
        srand(seed);
        p = (struct plain){.uidnext = 1, .highest = 1};
        struct mailbox_folder folder = folder_of(&p);
        struct version *v = version_after(NULL, &folder, true, 0, NULL, 0, NULL), *told = version_hold(v);
        for (int round = 0; round < ROUNDS; round++) {
            struct version *next = change(&p, v);
            assert_same(next, &p);
            assert_told(v, next);
            version_release(v);
            v = next;
            if (rand() % 4) continue;
            assert_told(told, v);
            version_release(told);
            told = version_hold(v);
        }
        version_release(v);
        version_release(told);
    }
}

/* RFC 9051 §7.5.1: until removals may be told, the removed messages keep their numbers. */
static void removed_messages_stay_until_they_are_told(void **state) {
    static struct plain p;
    (void)state;
    srand(3);
    p = (struct plain){.uidnext = 1, .highest = 1};
    struct mailbox_folder folder = folder_of(&p);
    struct version *v = version_after(NULL, &folder, true, 0, NULL, 0, NULL), *told = version_hold(v);
    for (int round = 0; round < ROUNDS; round++) {
        struct plain before = p;
        struct version *next = change(&p, v);
        struct version *kept = version_merge(told, next, true);
        for (size_t i = 0; i < told->count; i++) assert_int_equal(version_at(kept, i)->uid, version_at(told, i)->uid);
        for (uint32_t uid = 1; uid < p.uidnext; uid++) {
            const struct mailbox_record *r = version_find(kept, uid, NULL);
            if (p.modseq[uid]) assert_int_equal(r->modseq, p.modseq[uid]);
            if (!p.modseq[uid] && version_find(told, uid, NULL)) assert_non_null(r);
            if (!p.modseq[uid] && !version_find(told, uid, NULL) && !before.modseq[uid]) assert_null(r);
        }
        assert_told(kept, next);
        version_release(told);
        told = kept;
        if (rand() % 10 == 0) {
            version_release(told);
            told = version_hold(next);
        }
        version_release(v);
        v = next;
    }
    version_release(v);
    version_release(told);
}

static void own_changes_are_not_taken_back(void **state) {
    static struct plain p;
    (void)state;
    p = (struct plain){.uidnext = 4, .highest = 4, .modseq = {0, 2, 3, 4}};
    struct mailbox_folder folder = folder_of(&p);
    struct mailbox_record all[] = {record_of(&p, 1), record_of(&p, 2), record_of(&p, 3)};
    struct version *v = version_after(NULL, &folder, true, 3, all, 0, NULL);
    struct mailbox_record mine = {.uid = 2, .modseq = 9, .flags = MAILBOX_SEEN};
    struct version *told = version_with_records(v, true, v->modseq, 1, &mine);
    struct difference d = {.told = told, .now = v};
    size_t work = 100;
    assert_false(difference_next(&d, &work));
    struct version *merged = version_merge(told, v, false);
    assert_int_equal(version_find(merged, 2, NULL)->flags, MAILBOX_SEEN);
    assert_int_equal(version_find(v, 2, NULL)->flags, 0);
    version_release(merged);
    version_release(told);
    version_release(v);
}

static void bodies_are_noted_once(void **state) {
    struct view v = {0};
    bool noted[3000] = {false};
    (void)state;
    srand(4);
    for (int i = 0; i < 20000; i++) {
        uint32_t uid = 1 + (uint32_t)rand() % 1200;
        assert_true(view_mark_fetched(&v, uid) != noted[uid]);
        noted[uid] = true;
    }
    assert_int_equal(v.fetched_count, 1);
    free(v.fetched);
    v = (struct view){0};
    for (uint32_t i = 0; i < LIMIT_FETCHED_RANGES; i++) assert_true(view_mark_fetched(&v, 1 + 2 * i));
    assert_false(view_mark_fetched(&v, 1 + 2 * LIMIT_FETCHED_RANGES));
    assert_true(view_mark_fetched(&v, 2));
    free(v.fetched);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_follow_the_folder),
        cmocka_unit_test(removed_messages_stay_until_they_are_told),
        cmocka_unit_test(own_changes_are_not_taken_back),
        cmocka_unit_test(bodies_are_noted_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
