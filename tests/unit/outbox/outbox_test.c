/* The outbox against a real redis-server and a real nats-server: a message is in the system, body
 * and entry, when done(0) is called, and a refusal leaves nothing behind. */
#include "tests/unit/store/ground.h"

#include <event2/thread.h>
#include <nats/nats.h>

#include "libcommon/outbox/outbox.h"
#include "libcommon/store/blob.h"
#include "libcommon/store/queue.h"

#define SAID(call) (answered = false, call, ground_wait(), answer)

static struct bus *bus;
static pid_t nats_server;
static int nats_port;
static natsConnection *listener;
static natsSubscription *subscription;

static struct envelope *letter(void) {
    static struct envelope e;
    static struct envelope_rcpt rcpt;
    rcpt = (struct envelope_rcpt){.address = SLICE("bob@beta.test"), .user = SLICE("7")};
    e = (struct envelope){.from = SLICE("alice@alpha.test"),
                          .origin = ORIGIN_MX,
                          .size = 4,
                          .folder = SLICE("Junk"),
                          .rcpt_count = 1,
                          .rcpts = &rcpt};
    ulid_create(e.id);
    return &e;
}

/* All of its recipients are at other sites. */
static struct envelope *letter_abroad(void) {
    struct envelope *e = letter();
    e->rcpts[0].user = SLICE("");
    e->origin = ORIGIN_SUBMISSION;
    return e;
}

static bool has_text(const char *id) {
    return atoi(ground_redis("EXISTS {q:%d}:b:%s", queue_shard_of(slice_of(id)), id)) == 1;
}

static int field_count(const char *id) { return atoi(ground_redis("HLEN b:{%s}", id)); }
static bool has_ref(const char *id, const char *ref) { return atoi(ground_redis("HEXISTS b:{%s} r:%s", id, ref)) == 1; }
static bool has_entry(const char *id) {
    return atoi(ground_redis("EXISTS {q:%d}:e:%s", queue_shard_of(slice_of(id)), id)) == 1;
}

/* The wake-ups that came within a moment: their subjects, separated by spaces. */
static const char *wakes(void) {
    static char subjects[512];
    natsMsg *msg;
    size_t n = 0;
    subjects[0] = 0;
    ground_run(100);
    natsConnection_Flush(listener);
    while (natsSubscription_NextMsg(&msg, subscription, 50) == NATS_OK) {
        assert_int_equal(natsMsg_GetDataLength(msg), 0);
        n += (size_t)snprintf(subjects + n, sizeof subjects - n, "%s ", natsMsg_GetSubject(msg));
        natsMsg_Destroy(msg);
    }
    return subjects;
}

static void a_message_is_whole_when_done_is_called(void **state) {
    (void)state;
    struct envelope *e = letter();
    char subject[64];
    wakes();
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL)), 0);
    assert_true(has_entry(e->id) && has_ref(e->id, "q"));
    snprintf(subject, sizeof subject, "postbus.queue.due.%d ", queue_shard_of(slice_of(e->id)));
    assert_string_equal(wakes(), subject);
    /* Again, as after an answer that was lost: one message. */
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL)), 0);
    assert_int_equal(field_count(e->id), 3);
}

static char read_text[QUEUE_TEXT_MAX + 1];

static void on_text(void *ctx, int error, struct slice text) {
    assert_true(text.n <= QUEUE_TEXT_MAX);
    memcpy(read_text, text.p ? text.p : "", text.n);
    read_text[text.n] = 0;
    on_answer(ctx, error);
}

static int read_of(const struct envelope *e, bool in_queue) {
    return SAID(queue_read_text(ground.redis, slice_of(e->id), in_queue, on_text, NULL));
}

static int records_of(const struct envelope *e) {
    char shard[32];
    size_t index = 0;
    snprintf(shard, sizeof shard, "{q:%d}", queue_shard_of(slice_of(e->id)));
    ground_redis("FCALL queue_lease 1 %s 64 60000 mine", shard);
    e->rcpts[0].state = RCPT_SENT;
    return SAID(queue_record(ground.redis, e, "mine", 1, &index, on_answer, NULL));
}

static void a_message_for_other_sites_is_one_write(void **state) {
    (void)state;
    struct envelope *e = letter_abroad();
    char subject[64];
    wakes();
    int before = atoi(ground_redis("KEYS b:*"));
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL)), 0);
    assert_true(has_entry(e->id) && has_text(e->id));
    assert_int_equal(field_count(e->id), 0); /* no body beside it */
    snprintf(subject, sizeof subject, "postbus.queue.due.%d ", queue_shard_of(slice_of(e->id)));
    assert_string_equal(wakes(), subject);
    assert_int_equal(read_of(e, true), 0);
    assert_string_equal(read_text, "text");
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, SLICE("other"), on_answer, NULL)), 0);
    assert_int_equal(read_of(e, true), 0);
    assert_string_equal(read_text, "text"); /* the first commit holds */
    assert_int_equal(records_of(e), QUEUE_GONE);
    assert_false(has_entry(e->id) || has_text(e->id)); /* the last outcome takes the text with it */
    assert_int_equal(read_of(e, true), STORE_NOT_FOUND);
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL)), 0);
    assert_false(has_entry(e->id) || has_text(e->id)); /* it is remembered as done */
    assert_int_equal(atoi(ground_redis("KEYS b:*")), before);
}

static void a_deletion_takes_the_text_with_it(void **state) {
    (void)state;
    struct envelope *e = letter_abroad();
    char key[32];
    snprintf(key, sizeof key, "{q:%d}", queue_shard_of(slice_of(e->id)));
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL)), 0);
    ground_redis("FCALL queue_delete 1 %s %s", key, e->id);
    assert_false(has_entry(e->id) || has_text(e->id));
}

static void a_large_message_for_other_sites_has_a_body(void **state) {
    (void)state;
    static char large[QUEUE_TEXT_MAX + 1];
    memset(large, 'x', sizeof large);
    struct envelope *e = letter_abroad();
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, slice_make(large, sizeof large), on_answer, NULL)), 0);
    assert_true(has_entry(e->id) && has_ref(e->id, "q") && !has_text(e->id));
    e = letter_abroad();
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, slice_make(large, QUEUE_TEXT_MAX), on_answer, NULL)), 0);
    assert_true(has_entry(e->id) && has_text(e->id) && field_count(e->id) == 0);
    assert_int_equal(read_of(e, true), 0);
    assert_int_equal(strlen(read_text), QUEUE_TEXT_MAX);
}

static void forwarded_mail_has_a_body(void **state) {
    (void)state;
    struct envelope *e = letter_abroad();
    e->origin = ORIGIN_MX;
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL)), 0);
    assert_true(has_entry(e->id) && has_ref(e->id, "q") && !has_text(e->id));
}

static void a_damaged_text_is_told(void **state) {
    (void)state;
    struct envelope *e = letter_abroad();
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL)), 0);
    ground_redis("HSET {q:%d}:b:%s z damaged", queue_shard_of(slice_of(e->id)), e->id);
    assert_int_equal(read_of(e, true), STORE_INVALID);
    ground_redis("HSET {q:%d}:b:%s n 999999999999", queue_shard_of(slice_of(e->id)), e->id);
    assert_int_equal(read_of(e, true), STORE_INVALID);
}

static void messages_of_one_shard_wake_delivery_once_a_turn(void **state) {
    (void)state;
    char subject[64];
    wakes();
    /* The answers of one turn: bus_wake is what on_entry calls. */
    for (int i = 0; i < 5; i++) bus_wake(bus, "queue.due.3");
    bus_wake(bus, "queue.due.4");
    snprintf(subject, sizeof subject, "postbus.queue.due.3 postbus.queue.due.4 ");
    assert_string_equal(wakes(), subject);
}

/* The entry was worked off, its answer lost, and the message comes again: its body is not left
 * behind. */
static void a_commit_after_the_work_is_done_leaves_nothing(void **state) {
    (void)state;
    struct envelope *e = letter();
    char key[32];
    snprintf(key, sizeof key, "{q:%d}", queue_shard_of(slice_of(e->id)));
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL)), 0);
    ground_redis("FCALL queue_delete 1 %s %s", key, e->id);
    ground_redis("FCALL blob_release 1 b:{%s} q", e->id);
    assert_int_equal(field_count(e->id), 0);
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL)), 0);
    assert_false(has_entry(e->id));
    assert_int_equal(field_count(e->id), 0);
}

static void at_maxmemory_a_message_is_refused_whole(void **state) {
    (void)state;
    struct envelope *e = letter();
    ground_fill();
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL)), STORE_FULL);
    ground_make_room();
    assert_int_equal(field_count(e->id), 0);
    assert_false(has_entry(e->id));
    e = letter_abroad();
    ground_fill();
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL)), STORE_FULL);
    ground_make_room();
    assert_false(has_entry(e->id) || has_text(e->id));
}

static void on_body_then_full(void *ctx, int error) {
    (void)ctx;
    assert_int_equal(error, 0);
}

/* The memory is full between the body and the entry: the refused entry takes its body with it. */
static void a_refused_entry_takes_the_body_with_it(void **state) {
    (void)state;
    struct envelope *e = letter();
    struct slice other = SLICE("u:7/bob@beta.test/first"),
                 words[] = {SLICE("CONFIG"), SLICE("SET"), SLICE("maxmemory"), SLICE("1")};
    /* Redis takes the commands of a connection in order: the body, then the full memory; the entry
     * follows the body's answer. */
    blob_write(ground.redis, slice_of(e->id), SLICE("text"), 1, &other, on_body_then_full, NULL);
    answered = false;
    outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL);
    redis_command(ground.redis, NULL, NULL, 4, words);
    ground_wait();
    assert_int_equal(answer, STORE_FULL);
    ground_make_room();
    assert_false(has_entry(e->id));
    assert_false(has_ref(e->id, "q"));
    assert_true(has_ref(e->id, "u:7/bob@beta.test/first"));
}

static void a_stored_body_goes_over_to_the_queue(void **state) {
    (void)state;
    struct envelope *e = letter();
    struct slice refs[] = {SLICE("u:1/a@b.test/x"), SLICE("u:2/c@b.test/x"), SLICE("u:3/d@b.test/x")};
    assert_int_equal(SAID(blob_write(ground.redis, slice_of(e->id), SLICE("text"), 3, refs, on_answer, NULL)), 0);
    assert_int_equal(
        SAID(outbox_commit_stored(ground.redis, bus, e, SLICE("u:1/a@b.test/x\nu:2/c@b.test/x"), on_answer, NULL)), 0);
    assert_true(has_entry(e->id) && has_ref(e->id, "q"));
    ground_run(50);
    assert_true(has_ref(e->id, "u:3/d@b.test/x"));
    assert_int_equal(field_count(e->id), 4); /* z, n, q, and the one that was not given up */
    e = letter();
    assert_int_equal(SAID(outbox_commit_stored(ground.redis, bus, e, SLICE(""), on_answer, NULL)), STORE_NOT_FOUND);
    assert_false(has_entry(e->id));
}

/* Redis goes away while a message is under way: the answer says that nothing is known, and the same
 * commit again is one message. */
static void a_lost_connection_is_told_and_the_commit_can_be_repeated(void **state) {
    (void)state;
    struct envelope *e = letter();
    answered = false;
    outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL);
    struct slice words[] = {SLICE("CLIENT"), SLICE("KILL"),   SLICE("TYPE"),
                            SLICE("normal"), SLICE("SKIPME"), SLICE("no")};
    redis_command(ground.redis, NULL, NULL, 6, words);
    ground_wait();
    assert_int_equal(answer, STORE_UNAVAILABLE);
    while (!redis_is_ready(ground.redis)) event_base_loop(ground.base, EVLOOP_ONCE);
    assert_int_equal(SAID(outbox_commit(ground.redis, bus, e, SLICE("text"), on_answer, NULL)), 0);
    assert_true(has_entry(e->id));
    assert_int_equal(field_count(e->id), 3);
}

static int free_port(void) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof any;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&any, n) || getsockname(fd, (struct sockaddr *)&any, &n)) return -1;
    close(fd);
    return ntohs(any.sin_port);
}

static int start(void **state) {
    static const char *const libraries[] = {"queue", "blob"};
    char port[16], url[64];
    (void)state;
    evthread_use_pthreads();
    if (ground_start(2, libraries) != 0) return -1;
    nats_port = free_port();
    snprintf(port, sizeof port, "%d", nats_port);
    snprintf(url, sizeof url, "nats://127.0.0.1:%d", nats_port);
    nats_server = fork();
    if (nats_server == 0) {
        execlp("nats-server", "nats-server", "-a", "127.0.0.1", "-p", port, "-l", "/dev/null", (char *)NULL);
        _exit(127);
    }
    bus = bus_create(ground.base, url, "test", NULL, NULL);
    for (int i = 0; i < 100 && !bus_is_ready(bus); i++) ground_run(50);
    if (!bus_is_ready(bus) || natsConnection_ConnectTo(&listener, url) != NATS_OK ||
        natsConnection_SubscribeSync(&subscription, listener, "postbus.queue.due.*") != NATS_OK)
        return -1;
    natsConnection_Flush(listener);
    return 0;
}

static int stop(void **state) {
    natsSubscription_Destroy(subscription);
    natsConnection_Destroy(listener);
    bus_destroy(bus);
    kill(nats_server, SIGTERM);
    waitpid(nats_server, NULL, 0);
    int stopped = ground_stop(state);
    nats_Close();
    return stopped;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_whole_when_done_is_called),
        cmocka_unit_test(a_message_for_other_sites_is_one_write),
        cmocka_unit_test(a_deletion_takes_the_text_with_it),
        cmocka_unit_test(a_large_message_for_other_sites_has_a_body),
        cmocka_unit_test(forwarded_mail_has_a_body),
        cmocka_unit_test(a_damaged_text_is_told),
        cmocka_unit_test(messages_of_one_shard_wake_delivery_once_a_turn),
        cmocka_unit_test(a_commit_after_the_work_is_done_leaves_nothing),
        cmocka_unit_test(at_maxmemory_a_message_is_refused_whole),
        cmocka_unit_test(a_refused_entry_takes_the_body_with_it),
        cmocka_unit_test(a_stored_body_goes_over_to_the_queue),
        cmocka_unit_test(a_lost_connection_is_told_and_the_commit_can_be_repeated),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
