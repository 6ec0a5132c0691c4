/* Bodies and their references against a real redis-server: a body is there as long as anybody holds
 * it, and no longer. */
#include "tests/unit/store/ground.h"

#include "libcommon/base/buf.h"
#include "libcommon/store/blob.h"

enum { REFS = 1000, NAME_BYTES = 48 };

#define SAID(call) (answered = false, call, ground_wait(), answer)

static struct buf text;
static size_t count;
static uint64_t next_cursor;

static void on_text(void *ctx, int error, struct slice message) {
    buf_reset(&text);
    buf_add_slice(&text, message);
    on_answer(ctx, error);
}

/* Names, one a line. */
static void on_names(void *ctx, int error, size_t n, const struct slice names[]) {
    buf_reset(&text);
    count = n;
    for (size_t i = 0; i < n; i++) buf_printf(&text, "%.*s\n", SLICE_FMT(names[i]));
    on_answer(ctx, error);
}

static void on_scan(void *ctx, int error, uint64_t next, size_t n, const struct slice ids[]) {
    next_cursor = next;
    for (size_t i = 0; i < n; i++) buf_printf(&text, "%.*s\n", SLICE_FMT(ids[i]));
    on_answer(ctx, error);
}

static int write_one(const char *id, const char *message, const char *ref) {
    struct slice name = slice_of(ref);
    return SAID(blob_write(ground.redis, slice_of(id), slice_of(message), 1, &name, on_answer, NULL));
}

static int release_one(const char *id, const char *ref) {
    struct slice name = slice_of(ref);
    return SAID(blob_release(ground.redis, slice_of(id), 1, &name, on_answer, NULL));
}

static int read_one(const char *id, const char *ref) {
    return SAID(blob_read(ground.redis, slice_of(id), ref, on_text, NULL));
}

static void a_thousand_references_are_written_and_released_at_once(void **state) {
    static char names[REFS][NAME_BYTES];
    struct slice refs[REFS];
    (void)state;
    for (size_t i = 0; i < REFS; i++)
        refs[i] = slice_make(names[i], (size_t)snprintf(names[i], NAME_BYTES, "u:%zu/r%zu@x.test/01ARZ3", i, i));
    assert_int_equal(SAID(blob_write(ground.redis, SLICE("A"), SLICE("text"), REFS, refs, on_answer, NULL)), 0);
    assert_int_equal(SAID(blob_refs(ground.redis, SLICE("A"), on_names, NULL)), 0);
    assert_int_equal(count, REFS);
    assert_int_equal(SAID(blob_release(ground.redis, SLICE("A"), REFS - 1, refs, on_answer, NULL)), 0);
    assert_int_equal(read_one("A", NULL), 0);
    assert_string_equal(buf_str(&text), "text");
    assert_int_equal(SAID(blob_refs(ground.redis, SLICE("A"), on_names, NULL)), 0);
    assert_string_equal(buf_str(&text), "u:999/r999@x.test/01ARZ3\n");
    assert_int_equal(SAID(blob_release(ground.redis, SLICE("A"), 1, refs + REFS - 1, on_answer, NULL)), 0);
    assert_int_equal(read_one("A", NULL), STORE_NOT_FOUND);
    assert_int_equal(SAID(blob_refs(ground.redis, SLICE("A"), on_names, NULL)), STORE_NOT_FOUND);
    assert_string_equal(ground_redis("DBSIZE"), "0");
}

/* Two attempts at one delivery hold the body under names of their own: whichever gives up leaves
 * the other's. */
static void the_release_of_one_attempt_leaves_the_other_its_body(void **state) {
    (void)state;
    assert_int_equal(write_one("B", "text", "u:7/bob@x.test/first"), 0);
    assert_int_equal(read_one("B", "u:7/bob@x.test/second"), 0);
    assert_int_equal(release_one("B", "u:7/bob@x.test/first"), 0);
    assert_int_equal(release_one("B", "u:7/bob@x.test/first"), 0);
    assert_int_equal(read_one("B", NULL), 0);
    assert_int_equal(release_one("B", "nobody's"), 0);
    assert_int_equal(read_one("B", NULL), 0);
    assert_int_equal(release_one("B", "u:7/bob@x.test/second"), 0);
    assert_int_equal(read_one("B", "u:7/bob@x.test/third"), STORE_NOT_FOUND);
    assert_int_equal(SAID(blob_hold(ground.redis, SLICE("B"), "q", on_answer, NULL)), STORE_NOT_FOUND);
    assert_string_equal(ground_redis("DBSIZE"), "0");
}

static void the_second_write_keeps_the_first_bytes(void **state) {
    (void)state;
    assert_int_equal(write_one("C", "first", "q"), 0);
    assert_int_equal(write_one("C", "second", "u:1/x/y"), 0);
    assert_int_equal(SAID(blob_hold(ground.redis, SLICE("C"), "q", on_answer, NULL)), 0);
    assert_int_equal(read_one("C", NULL), 0);
    assert_string_equal(buf_str(&text), "first");
    assert_int_equal(release_one("C", "q"), 0);
    assert_int_equal(read_one("C", NULL), 0);
    assert_int_equal(release_one("C", "u:1/x/y"), 0);
    assert_string_equal(ground_redis("DBSIZE"), "0");
}

static void at_maxmemory_nothing_is_written_but_all_is_read_and_released(void **state) {
    (void)state;
    assert_int_equal(write_one("D", "text", "q"), 0);
    ground_fill();
    assert_int_equal(write_one("E", "text", "q"), STORE_FULL);
    assert_int_equal(read_one("D", "u:1/x/y"), STORE_FULL);
    assert_int_equal(read_one("D", NULL), 0);
    assert_string_equal(buf_str(&text), "text");
    assert_int_equal(release_one("D", "q"), 0);
    ground_make_room();
    assert_string_equal(ground_redis("DBSIZE"), "0");
}

static void the_janitor_finds_every_body(void **state) {
    (void)state;
    for (int i = 0; i < 1500; i++) {
        char id[16];
        snprintf(id, sizeof id, "id%04d", i);
        assert_int_equal(write_one(id, "x", "q"), 0);
        ground_redis("SET other:%d x", i);
    }
    buf_reset(&text);
    next_cursor = 0;
    int pages = 0;
    do {
        assert_int_equal(SAID(blob_scan(ground.redis, next_cursor, on_scan, NULL)), 0);
        pages++;
    } while (next_cursor);
    assert_true(pages > 1);
    for (int i = 0; i < 1500; i++) {
        char line[16];
        snprintf(line, sizeof line, "id%04d\n", i);
        assert_non_null(strstr(buf_str(&text), line));
    }
    assert_null(strstr(buf_str(&text), "other"));
}

static int start(void **state) {
    static const char *const libraries[] = {"blob"};
    (void)state;
    return ground_start(1, libraries);
}

static int stop(void **state) {
    buf_free(&text);
    return ground_stop(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_references_are_written_and_released_at_once),
        cmocka_unit_test(the_release_of_one_attempt_leaves_the_other_its_body),
        cmocka_unit_test(the_second_write_keeps_the_first_bytes),
        cmocka_unit_test(at_maxmemory_nothing_is_written_but_all_is_read_and_released),
        cmocka_unit_test(the_janitor_finds_every_body),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
