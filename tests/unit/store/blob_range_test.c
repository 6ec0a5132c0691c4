/* Bodies in blocks, against a real redis-server: ranges, what they cost, and writing while a
 * message arrives. */
#include "tests/unit/store/ground.h"

#include <zstd.h>

#include "libcommon/base/buf.h"
#include "libcommon/base/metrics.h"
#include "libcommon/store/blob.h"
#include "libcommon/store/blob/block.h"

enum { SIZE = 10 * 1024 * 1024 + 12345, PIECE = 64 * 1024 };

#define SAID(call) (answered = false, call, ground_wait(), answer)

static char *message;
static struct buf text;
static uint64_t size;
static const struct slice held = {"q", 1};

static void on_text(void *ctx, int error, struct slice bytes) {
    buf_reset(&text);
    buf_add_slice(&text, bytes);
    on_answer(ctx, error);
}

static void on_range(void *ctx, int error, uint64_t whole, struct slice bytes) {
    size = whole;
    on_text(ctx, error, bytes);
}

static void range_is(const char *id, uint64_t offset, uint64_t length) {
    assert_int_equal(SAID(blob_read_range(ground.redis, slice_of(id), offset, length, on_range, NULL)), 0);
    size_t left = offset < size ? (size_t)(size - offset) : 0, expected = length < left ? (size_t)length : left;
    assert_int_equal(text.n, expected);
    assert_true(expected == 0 || memcmp(text.data, message + offset, expected) == 0);
}

/* A counter's value, by its name. */
static int64_t counted(const char *name) {
    struct buf all = {0};
    char line[128];
    metrics_write(&all);
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(buf_str(&all), line);
    int64_t value = at ? atoll(at + strlen(line)) : 0;
    buf_free(&all);
    return value;
}

static int write_message(const char *id, size_t n) {
    return SAID(blob_write(ground.redis, slice_of(id), slice_make(message, n), 1, &held, on_answer, NULL));
}

static void every_size_is_read_whole_and_by_range(void **state) {
    static const size_t sizes[] = {0,     1,         4000,           PIECE - 1,
                                   PIECE, PIECE + 1, 2 * PIECE,      2 * PIECE + 1,
                                   SIZE,  5 * PIECE, 65 * PIECE - 1, 128 * PIECE + 7};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char id[16];
        size_t n = sizes[i];
        snprintf(id, sizeof id, "S%zu", i);
        assert_int_equal(write_message(id, n), 0);
        assert_int_equal(SAID(blob_read(ground.redis, slice_of(id), i % 2 ? "other" : NULL, on_text, NULL)), 0);
        assert_int_equal(text.n, n);
        assert_true(n == 0 || memcmp(text.data, message, n) == 0);
        const uint64_t offsets[] = {0, 1, 100, PIECE - 1, PIECE, PIECE + 1, n / 2, n ? n - 1 : 0, n, n + 1, UINT64_MAX};
        for (size_t k = 0; k < sizeof offsets / sizeof *offsets; k++) {
            range_is(id, offsets[k], 1);
            assert_int_equal(size, n);
            range_is(id, offsets[k], PIECE);
            range_is(id, offsets[k], 3 * PIECE + 5);
            range_is(id, offsets[k], UINT64_MAX);
            range_is(id, offsets[k], 0);
        }
        const struct slice both[] = {held, SLICE("other")};
        assert_int_equal(SAID(blob_release(ground.redis, slice_of(id), 2, both, on_answer, NULL)), 0);
        assert_string_equal(ground_redis("EXISTS b:{%s}", id), "0");
    }
}

/* What this is for: a message that is fetched in pieces is read about once, wherever the pieces
 * begin. */
static void pieces_cost_what_the_whole_costs(void **state) {
    (void)state;
    assert_int_equal(write_message("P", SIZE), 0);
    for (uint64_t shift = 0; shift < 200; shift += 97) {
        int64_t before = counted("postbus_store_body_bytes_decompressed_total"),
                travelled = counted("postbus_store_body_bytes_read_total");
        for (uint64_t at = 0; at < SIZE; at += PIECE) range_is("P", at < shift ? 0 : at - shift, PIECE);
        assert_in_range(counted("postbus_store_body_bytes_decompressed_total") - before, SIZE - PIECE,
                        SIZE + 2 * PIECE);
        assert_in_range(counted("postbus_store_body_bytes_read_total") - travelled, 1, SIZE + 2 * PIECE);
    }
    int64_t before = counted("postbus_store_body_bytes_decompressed_total");
    range_is("P", SIZE / 2, 10);
    assert_in_range(counted("postbus_store_body_bytes_decompressed_total") - before, 0, PIECE);
    assert_int_equal(SAID(blob_release(ground.redis, SLICE("P"), 1, &held, on_answer, NULL)), 0);
}

/* A body of an earlier version: one frame without a checksum. */
static void a_body_of_one_frame_is_readable(void **state) {
    (void)state;
    size_t n = 300 * 1024, room = ZSTD_compressBound(n);
    char *frame = malloc(room);
    size_t packed = ZSTD_compress(frame, room, message, n, 1);
    char number[16];
    snprintf(number, sizeof number, "%zu", n);
    struct slice command[] = {SLICE("HSET"),    SLICE("b:{O}"), SLICE("n"),
                              slice_of(number), SLICE("z"),     slice_make(frame, packed),
                              SLICE("r:q"),     SLICE("1")};
    answered = false;
    redis_command(ground.redis, on_ground_reply, NULL, 8, command);
    ground_wait();
    free(frame);
    assert_int_equal(SAID(blob_read(ground.redis, SLICE("O"), NULL, on_text, NULL)), 0);
    assert_int_equal(text.n, n);
    assert_memory_equal(text.data, message, n);
    range_is("O", 0, 100);
    range_is("O", 200000, 70000);
    range_is("O", 299000, 70000);
    assert_int_equal(SAID(blob_release(ground.redis, SLICE("O"), 1, &held, on_answer, NULL)), 0);
    assert_string_equal(ground_redis("EXISTS b:{O}"), "0");
}

static void damage_is_found(void **state) {
    (void)state;
    assert_int_equal(write_message("D", 3 * PIECE), 0);
    ground_redis("HSET b:{D} z1 nonsense");
    assert_int_equal(SAID(blob_read(ground.redis, SLICE("D"), NULL, on_text, NULL)), STORE_INVALID);
    assert_int_equal(SAID(blob_read_range(ground.redis, SLICE("D"), PIECE + 5, 10, on_range, NULL)), STORE_INVALID);
    assert_int_equal(SAID(blob_read_range(ground.redis, SLICE("D"), PIECE + 5, 10, on_range, NULL)), STORE_INVALID);
    range_is("D", 2 * PIECE + 5, 10);
    ground_redis("HDEL b:{D} z1");
    assert_int_equal(SAID(blob_read(ground.redis, SLICE("D"), NULL, on_text, NULL)), STORE_UNAVAILABLE);
    ground_redis("HSET b:{D} n 12x");
    assert_int_equal(SAID(blob_read(ground.redis, SLICE("D"), NULL, on_text, NULL)), STORE_INVALID);
    ground_redis("UNLINK b:{D}");
}

/* Writing */

static int rooms;
static void on_room(void *ctx) {
    (void)ctx;
    rooms++;
    answered = true;
}

/* Pieces as a client sends them, never more than the bound on their way. */
static struct blob_writer *write_pieces(const char *id, size_t from, size_t n, size_t piece) {
    struct blob_writer *w = blob_writer_create(ground.redis, slice_of(id), on_room, NULL);
    for (size_t at = from; at < n; at += piece) {
        blob_writer_add(w, slice_make(message + at, n - at < piece ? n - at : piece));
        if (blob_writer_waiting(w) > BLOB_WRITER_BYTES_MAX) {
            assert_in_range(blob_writer_waiting(w), 0, BLOB_WRITER_BYTES_MAX + piece);
            answered = false;
            ground_wait();
            assert_in_range(blob_writer_waiting(w), 0, BLOB_WRITER_BYTES_MAX / 2);
        }
    }
    return w;
}

static void a_message_is_written_while_it_arrives(void **state) {
    static const size_t heads[] = {0, 1, 777, PIECE, 200000};
    static const size_t sizes[] = {200000, 200001, 5 * PIECE, SIZE};
    (void)state;
    for (size_t i = 0; i < 20; i++) {
        size_t head = heads[i % 5], n = sizes[i / 5];
        char id[16];
        snprintf(id, sizeof id, "W%zu", i);
        rooms = 0;
        struct blob_writer *w = write_pieces(id, head, n, 30000);
        assert_true((rooms > 0) == (n == SIZE));
        assert_int_equal(SAID(blob_read(ground.redis, slice_of(id), NULL, on_text, NULL)), STORE_NOT_FOUND);
        assert_int_equal(SAID(blob_hold(ground.redis, slice_of(id), "q", on_answer, NULL)), STORE_NOT_FOUND);
        assert_int_equal(SAID(blob_writer_finish(w, slice_make(message, head), 1, &held, on_answer, NULL)), 0);
        assert_int_equal(SAID(blob_read(ground.redis, slice_of(id), NULL, on_text, NULL)), 0);
        assert_int_equal(text.n, n);
        assert_memory_equal(text.data, message, n);
        range_is(id, 0, 10);
        range_is(id, head, 10);
        range_is(id, n - 100000, PIECE);
        assert_int_equal(SAID(blob_release(ground.redis, slice_of(id), 1, &held, on_answer, NULL)), 0);
        assert_string_equal(ground_redis("EXISTS b:{%s}", id), "0");
    }
}

static void what_a_writer_leaves_is_removed_when_it_is_old(void **state) {
    (void)state;
    struct blob_writer *w = write_pieces("L", 0, 4 * PIECE, PIECE);
    while (blob_writer_waiting(w)) event_base_loop(ground.base, EVLOOP_ONCE);
    assert_int_equal(SAID(blob_forget(ground.redis, SLICE("L"), clock_wall_ms() - 60000, on_answer, NULL)), 0);
    assert_string_equal(ground_redis("EXISTS b:{L}"), "1");
    assert_int_equal(SAID(blob_forget(ground.redis, SLICE("L"), clock_wall_ms() + 1, on_answer, NULL)), 0);
    assert_string_equal(ground_redis("EXISTS b:{L}"), "0");
    assert_int_equal(SAID(blob_writer_finish(w, SLICE("x"), 1, &held, on_answer, NULL)), STORE_UNAVAILABLE);
    assert_string_equal(ground_redis("EXISTS b:{L}"), "0");

    w = write_pieces("L", 0, 4 * PIECE, PIECE);
    blob_writer_cancel(w);
    for (int i = 0; i < 100 && *ground_redis("EXISTS b:{L}") == '1'; i++) ground_run(10);
    assert_string_equal(ground_redis("EXISTS b:{L}"), "0");

    assert_int_equal(write_message("L", 3 * PIECE), 0); /* a complete body is never forgotten */
    assert_int_equal(SAID(blob_forget(ground.redis, SLICE("L"), INT64_MAX, on_answer, NULL)), 0);
    assert_string_equal(ground_redis("EXISTS b:{L}"), "1");
    ground_redis("UNLINK b:{L}");
}

static void a_full_store_refuses_a_writer_in_the_end(void **state) {
    (void)state;
    struct blob_writer *w = blob_writer_create(ground.redis, SLICE("F"), NULL, NULL);
    blob_writer_add(w, slice_make(message, 3 * PIECE));
    while (blob_writer_waiting(w)) event_base_loop(ground.base, EVLOOP_ONCE);
    ground_fill();
    blob_writer_add(w, slice_make(message, 3 * PIECE));
    while (!blob_writer_error(w)) event_base_loop(ground.base, EVLOOP_ONCE);
    assert_int_equal(SAID(blob_writer_finish(w, SLICE(""), 1, &held, on_answer, NULL)), STORE_FULL);
    ground_make_room();
    assert_string_equal(ground_redis("EXISTS b:{F}"), "0");
}

static void only_what_we_write_is_a_layout(void **state) {
    static const struct {
        const char *n, *s;
        int result;
    } rows[] = {{"0", "", 0},    {"100", "", 0},      {"100000", "65536", 0}, {"100000", "65536 7", 0},
                {"", "", -1},    {"-1", "", -1},      {"1x", "", -1},         {"999999999", "", -1},
                {"10", "0", -1}, {"10", "65537", -1}, {"10", "65536 11", -1}, {"10", "65536 ", -1},
                {"10", " 3", -1}};
    struct block_layout layout;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(block_layout_read(slice_of(rows[i].n), slice_of(rows[i].s), &layout), rows[i].result);
}

static int start(void **state) {
    static const char *const libraries[] = {"blob"};
    unsigned seed = 12345;
    (void)state;
    message = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) { /* half noise, so that it compresses a little */
        seed = seed * 1103515245 + 12345;
        message[i] = (char)(i % 2 ? 'a' : seed >> 16);
    }
    return ground_start(1, libraries);
}

static int stop(void **state) {
    buf_free(&text);
    free(message);
    return ground_stop(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_we_write_is_a_layout),
        cmocka_unit_test(every_size_is_read_whole_and_by_range),
        cmocka_unit_test(pieces_cost_what_the_whole_costs),
        cmocka_unit_test(a_body_of_one_frame_is_readable),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(a_message_is_written_while_it_arrives),
        cmocka_unit_test(what_a_writer_leaves_is_removed_when_it_is_old),
        cmocka_unit_test(a_full_store_refuses_a_writer_in_the_end),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
