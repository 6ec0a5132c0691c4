/* The header of a stranger's message as SORT and THREAD read it, and threads of messages that refer
 * to each other in any way. */
#include <stdlib.h>

#include "services/imapd/order/base_subject.h"
#include "services/imapd/order/sort_key.h"
#include "services/imapd/sort/thread.h"

enum { MESSAGES = 40, IDS = 16 };

/* Each two bytes are a message: what it is called, and what it refers to. */
static void thread_any(struct arena *arena, const uint8_t *data, size_t size) {
    struct thread_message list[MESSAGES] = {0};
    char names[IDS];
    struct buf out = {0};
    size_t count = size / 2 < MESSAGES ? size / 2 : MESSAGES;
    for (int i = 0; i < IDS; i++) names[i] = (char)('a' + i);
    for (size_t i = 0; i < count; i++) {
        struct slice *parents = arena_alloc(arena, 2 * sizeof *parents);
        list[i].number = (uint32_t)i + 1;
        list[i].sent = data[i * 2] % 7;
        list[i].id = slice_make(&names[data[i * 2] % IDS], 1);
        list[i].subject = slice_make(&names[data[i * 2] % 3], data[i * 2] % 2);
        list[i].reply = data[i * 2] & 64;
        list[i].references = parents;
        list[i].reference_count = data[i * 2 + 1] % 3;
        parents[0] = slice_make(&names[data[i * 2 + 1] / IDS], 1);
        parents[1] = slice_make(&names[data[i * 2 + 1] % IDS], 1);
    }
    for (int algorithm = THREAD_ORDERED_SUBJECT; algorithm <= THREAD_REFS; algorithm++) {
        size_t numbers = 0, open = 0, closed = 0;
        buf_reset(&out);
        thread_write(arena, (enum thread_algorithm)algorithm, count, list, &out);
        for (size_t i = 0; i < out.n; i++) {
            bool digit = out.data[i] >= '0' && out.data[i] <= '9';
            numbers += digit && (!i || out.data[i - 1] < '0' || out.data[i - 1] > '9');
            open += out.data[i] == '(';
            closed += out.data[i] == ')';
        }
        if (numbers != count || open != closed) abort(); /* each message is in one thread */
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char all[] = "(SUBJECT FROM TO CC DATE DISPLAYFROM DISPLAYTO SIZE ARRIVAL)";
    struct arena *arena = arena_create();
    struct slice header = {(const char *)data, size};
    struct buf subject = {0};
    struct parser p = {all, all + sizeof all - 1, arena};
    struct sort_program program;
    struct sort_entry entry;
    struct thread_message message = {0};
    const struct mailbox_record record = {.uid = 1};
    base_subject(header, &subject);
    sort_parse_program(&p, &program);
    sort_make_entry(arena, &program, &record, header, &entry);
    thread_read_message(arena, header, &message);
    thread_any(arena, data, size);
    buf_free(&subject);
    arena_destroy(arena);
    return 0;
}
