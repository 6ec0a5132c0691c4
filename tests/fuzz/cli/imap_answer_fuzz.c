/* Reads answers of an IMAP server, one after the other as they come from a connection, and the names of folders in
 * them: no view may leave the input or the arena. */
#include <stdlib.h>

#include "services/cli/mailbox/imap/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads each byte, so that a view of what is not there is found. */
static unsigned touch(struct slice s) {
    unsigned sum = 0;
    for (size_t i = 0; i < s.n; i++) sum += (unsigned char)s.p[i];
    return sum;
}

/* The end of the answer that begins at `at`; 0 when it is not complete. */
static size_t answer_end(struct slice input, size_t at) {
    size_t start = at;
    for (;;) {
        ptrdiff_t end = slice_find(slice_skip(input, at), '\n');
        uint64_t literal;
        if (end < 1 || input.p[at + (size_t)end - 1] != '\r') return 0;
        struct slice line = slice_head(slice_skip(input, at), (size_t)end - 1);
        at += (size_t)end + 1;
        if (!imap_literal_follows(line, &literal)) return at > start ? at : 0;
        if (literal > input.n - at) return 0;
        at += (size_t)literal;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_make(data, size);
    struct arena *arena = arena_create();
    struct buf name = {0};
    volatile unsigned sum = 0;
    for (size_t at = 0, end; at < size && (end = answer_end(input, at)) != 0; at = end) {
        struct imap_answer a;
        char *copy = memory_copy(slice_make(input.p + at, end - at));
        if (imap_answer_read(slice_make(copy, end - at), arena, &a) == 0) {
            sum += touch(a.tag) + touch(a.code) + touch(a.text) + touch(a.flags) + touch(a.name) + touch(a.section);
            if (a.namespace_count > IMAP_NAMESPACES_MAX) abort();
            for (size_t i = 0; i < a.namespace_count; i++) sum += touch(a.namespaces[i].prefix);
            for (struct slice word; imap_word_next(&a.flags, &word);)
                if (!word.n || slice_find(word, ' ') >= 0) abort();
            buf_reset(&name);
            bool named = imap_folder_name(a.name, a.separator,
                                          a.namespace_count ? a.namespaces[0].prefix : SLICE("INBOX."), &name);
            if (named != (name.n > 0)) abort();
            for (size_t i = 0; i < name.n; i++)
                if ((unsigned char)name.data[i] < ' ') abort();
        }
        free(copy);
        arena_reset(arena);
    }
    imap_date_read(input);
    imap_folder_name(input, '.', SLICE(""), &name);
    buf_free(&name);
    arena_destroy(arena);
    return 0;
}
