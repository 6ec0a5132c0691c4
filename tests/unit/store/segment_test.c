/* Segments, places and indexes of the cold tier; the directory; and a body that moves there. */
#include "tests/unit/store/ground.h"

#include <event2/thread.h>
#include <sys/stat.h>

#include "libcommon/base/buf.h"
#include "libcommon/store/blob/blob_mover.h"
#include "libcommon/store/blob/block.h"

#define SEGMENT "01K00000000000000000000ABC"
#define SAID(call) (answered = false, call, ground_wait(), answer)

static struct buf text;
static char root[64];
static const struct slice held = {"q", 1};

static void on_text(void *ctx, int error, struct slice bytes) {
    buf_reset(&text);
    buf_add_slice(&text, bytes);
    on_answer(ctx, error);
}

static void on_range(void *ctx, int error, uint64_t size, struct slice bytes) {
    (void)size;
    on_text(ctx, error, bytes);
}

static void only_what_we_write_is_a_place(void **state) {
    static const char *const wrong[] = {"",
                                        "d",
                                        "d " SEGMENT,
                                        "d " SEGMENT " 1",
                                        "d " SEGMENT " 1 ",
                                        "d " SEGMENT " 1 2 3",
                                        "x " SEGMENT " 1 2",
                                        "d ../../etc/passwd 1 2",
                                        "d " SEGMENT " -1 2",
                                        "d " SEGMENT " 9223372036854775808 2"};
    struct cold_place p;
    char again[COLD_PLACE_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(cold_place_read(slice_of(wrong[i]), &p), -1);
    assert_int_equal(cold_place_read(SLICE("s " SEGMENT " 9223372036854775807 0"), &p), 0);
    assert_true(slice_is(cold_place_write(&p, again), "s " SEGMENT " 9223372036854775807 0"));
}

static void an_index_gives_the_bytes_of_blocks(void **state) {
    static const char three[] = {5, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0};
    struct slice index = slice_make(three, sizeof three);
    uint64_t offset, length;
    uint32_t lengths[4];
    (void)state;
    assert_int_equal(cold_index_span(index, 13, 1, 2, &offset, &length, lengths), 0);
    assert_int_equal(offset, 5);
    assert_int_equal(length, 8);
    assert_int_equal(lengths[0], 7);
    assert_int_equal(lengths[1], 1);
    assert_int_equal(cold_index_span(index, 12, 1, 2, &offset, &length, lengths), -1);
    assert_int_equal(cold_index_span(index, 13, 1, 3, &offset, &length, lengths), -1);
    assert_int_equal(cold_index_span(index, 13, 3, 1, &offset, &length, lengths), -1);
    assert_int_equal(cold_index_span(slice_head(index, 11), 13, 0, 1, &offset, &length, lengths), -1);
    assert_int_equal(cold_index_span(SLICE(""), 9, 0, 1, &offset, &length, lengths), 0);
    assert_int_equal(lengths[0], 9);
}

static void a_head_is_read_as_it_was_written(void **state) {
    struct segment_entry in[] = {{SEGMENT, 0, 10}, {"01K00000000000000000000ABD", 0, 0}}, out[SEGMENT_BODIES_MAX];
    struct buf head = {0};
    (void)state;
    segment_head_write(&head, 2, in);
    assert_int_equal(segment_head_read(buf_slice(&head), out), 2);
    assert_string_equal(out[1].id, in[1].id);
    assert_int_equal(out[0].offset, SEGMENT_HEAD_BYTES + 2 * SEGMENT_ENTRY_BYTES);
    assert_int_equal(out[1].offset, out[0].offset + 10);
    for (size_t n = 0; n < head.n; n++) assert_int_equal(segment_head_read(slice_make(head.data, n), out), -1);
    head.data[10] = 1;
    assert_int_equal(segment_head_read(buf_slice(&head), out), -1); /* 65,538 bodies */
    buf_free(&head);
}

/* A body of this many bytes, with the given number of blocks, put into a segment and committed as
 * the mover does. */
static void move(const char *id, const char *segment, struct slice message, struct slice before,
                 char place[COLD_PLACE_BYTES]) {
    struct cold *c = cold_of(ground.redis);
    struct segment_entry entry = {.length = 0};
    struct buf frames = {0}, index = {0}, all = {0};
    struct block_layout l = block_layout_of(message.n);
    for (size_t i = 0; i < block_count(&l); i++) {
        size_t start = frames.n;
        block_compress(slice_head(slice_skip(message, block_start(&l, i)), block_size(&l, i)), &frames);
        uint32_t n = (uint32_t)(frames.n - start);
        if (block_count(&l) > 1) buf_add(&index, &n, 4);
    }
    memcpy(entry.id, id, ULID_BYTES);
    entry.length = frames.n;
    segment_head_write(&all, 1, &entry);
    buf_add_slice(&all, buf_slice(&frames));
    assert_int_equal(SAID(cold_segment_enter(ground.redis, COLD_DIRECTORY, segment, 1000, false, on_answer, NULL)), 0);
    assert_int_equal(SAID(cold_write(c, COLD_DIRECTORY, segment, buf_slice(&all), on_answer, NULL)), 0);
    assert_int_equal(SAID(cold_segment_enter(ground.redis, COLD_DIRECTORY, segment, 1000, true, on_answer, NULL)), 0);
    struct cold_place p = {.tier = COLD_DIRECTORY, .offset = entry.offset, .length = entry.length};
    memcpy(p.segment, segment, ULID_BYTES);
    assert_int_equal(SAID(blob_moved(ground.redis, slice_of(id), before, cold_place_write(&p, place), message.n,
                                     buf_slice(&index), on_answer, NULL)),
                     0);
    buf_free(&frames);
    buf_free(&index);
    buf_free(&all);
}

static void a_body_that_moved_is_read_and_released(void **state) {
    static const size_t sizes[] = {0, 5, 65536, 65537, 700000};
    static char message[700000];
    (void)state;
    for (size_t i = 0; i < sizeof message; i++) message[i] = (char)(i * i >> 7);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char id[ULID_BYTES], one[ULID_BYTES], two[ULID_BYTES], place[COLD_PLACE_BYTES] = "",
                                                               second[COLD_PLACE_BYTES] = "";
        struct slice all = slice_make(message, sizes[i]);
        ulid_create(id);
        ulid_create(one);
        ulid_create(two);
        assert_int_equal(SAID(blob_write(ground.redis, slice_of(id), all, 1, &held, on_answer, NULL)), 0);
        move(id, one, all, SLICE(""), place);
        assert_string_equal(ground_redis("HEXISTS b:{%s} z", id), "0");
        assert_int_equal(SAID(blob_read(ground.redis, slice_of(id), "u:1/x/y", on_text, NULL)), 0);
        assert_int_equal(text.n, sizes[i]);
        if (text.n) assert_memory_equal(text.data, message, text.n);
        assert_int_equal(SAID(blob_read_range(ground.redis, slice_of(id), 65530, 70000, on_range, NULL)), 0);
        size_t left = sizes[i] > 65530 ? sizes[i] - 65530 : 0;
        assert_int_equal(text.n, left < 70000 ? left : 70000);
        if (text.n) assert_memory_equal(text.data, message + 65530, text.n);
        /* once more from where it is no longer: nothing changes */
        assert_int_equal(SAID(blob_moved(ground.redis, slice_of(id), SLICE(""), SLICE("d x 1 2"), sizes[i], SLICE(""),
                                         on_answer, NULL)),
                         STORE_CONFLICT);
        move(id, two, all, slice_of(place), second); /* the segment is compacted */
        assert_int_equal(SAID(cold_remove(cold_of(ground.redis), COLD_DIRECTORY, one, on_answer, NULL)), 0);
        assert_int_equal(SAID(cold_remove(cold_of(ground.redis), COLD_DIRECTORY, one, on_answer, NULL)), 0);
        assert_int_equal(SAID(blob_read(ground.redis, slice_of(id), NULL, on_text, NULL)), 0);
        assert_int_equal(text.n, sizes[i]);
        /* a second write adds its references and leaves the body where it is */
        assert_int_equal(SAID(blob_write(ground.redis, slice_of(id), all, 1, &held, on_answer, NULL)), 0);
        assert_string_equal(ground_redis("HEXISTS b:{%s} z", id), "0");
        /* a body whose segment is missing is not there for the moment, and never "not found" */
        assert_int_equal(SAID(cold_remove(cold_of(ground.redis), COLD_DIRECTORY, two, on_answer, NULL)), 0);
        if (sizes[i])
            assert_int_equal(SAID(blob_read(ground.redis, slice_of(id), NULL, on_text, NULL)), STORE_UNAVAILABLE);
        const struct slice refs[] = {held, SLICE("u:1/x/y")};
        assert_int_equal(SAID(blob_release(ground.redis, slice_of(id), 1, refs, on_answer, NULL)), 0);
        assert_string_equal(ground_redis("EXISTS b:{%s}", id), "1");
        assert_int_equal(SAID(blob_release(ground.redis, slice_of(id), 1, refs + 1, on_answer, NULL)), 0);
        assert_string_equal(ground_redis("EXISTS b:{%s}", id), "0");
        assert_int_equal(SAID(blob_moved(ground.redis, slice_of(id), SLICE(""), slice_of(second), sizes[i], SLICE(""),
                                         on_answer, NULL)),
                         STORE_NOT_FOUND);
    }
    ground_redis("UNLINK {cold}:segments {cold}:large");
}

static size_t listed;
static void on_list(void *ctx, int error, size_t count, const struct slice items[]) {
    (void)items;
    listed = count;
    on_answer(ctx, error);
}

static void the_list_knows_what_is_written(void **state) {
    (void)state;
    assert_int_equal(SAID(cold_segment_enter(ground.redis, COLD_DIRECTORY, SEGMENT, 5000, false, on_answer, NULL)), 0);
    assert_int_equal(SAID(cold_segments(ground.redis, true, 9000, 0, 10, on_list, NULL)), 0);
    assert_int_equal(listed, 0);
    assert_int_equal(SAID(cold_segments(ground.redis, false, 4999, 0, 10, on_list, NULL)), 0);
    assert_int_equal(listed, 0);
    assert_int_equal(SAID(cold_segments(ground.redis, false, 5000, 0, 10, on_list, NULL)), 0);
    assert_int_equal(listed, 1);
    ground_fill(); /* the mover works when Redis is full */
    assert_int_equal(SAID(cold_segment_enter(ground.redis, COLD_DIRECTORY, SEGMENT, 5000, true, on_answer, NULL)), 0);
    ground_make_room();
    assert_int_equal(SAID(cold_segments(ground.redis, false, 9000, 0, 10, on_list, NULL)), 0);
    assert_int_equal(listed, 0);
    assert_int_equal(SAID(cold_segments(ground.redis, true, 5000, 0, 10, on_list, NULL)), 0);
    assert_int_equal(listed, 1);
    assert_int_equal(SAID(cold_segment_leave(ground.redis, COLD_DIRECTORY, SEGMENT, on_answer, NULL)), 0);
    assert_string_equal(ground_redis("DBSIZE"), "0");
}

static int start(void **state) {
    static const char *const libraries[] = {"blob"};
    (void)state;
    evthread_use_pthreads();
    snprintf(root, sizeof root, "/tmp/postbus-cold-XXXXXX");
    if (!mkdtemp(root)) return -1;
    setenv("POSTBUS_COLD", "directory", 1);
    setenv("POSTBUS_COLD_DIRECTORY", root, 1);
    return ground_start(1, libraries);
}

static int stop(void **state) {
    char command[128];
    buf_free(&text);
    snprintf(command, sizeof command, "rm -rf %s", root);
    return ground_stop(state) || system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_we_write_is_a_place),    cmocka_unit_test(an_index_gives_the_bytes_of_blocks),
        cmocka_unit_test(a_head_is_read_as_it_was_written), cmocka_unit_test(a_body_that_moved_is_read_and_released),
        cmocka_unit_test(the_list_knows_what_is_written),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
