#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/drive/drive.h"

enum { COMMAND_BYTES = 512, NUMBER_BYTES = 24 };

static long number_of(struct slice s) {
    char text[NUMBER_BYTES] = "";
    memcpy(text, s.p, s.n < sizeof text - 1 ? s.n : sizeof text - 1);
    return strtol(text, NULL, 10);
}

/* A line of a response; the bytes of a literal at its end are read and dropped, with the rest of
 * the response after them as the next line. */
static int line_of(struct imap *s, struct slice *line) {
    if (connection_line(s->connection, line)) return -1;
    if (!line->n || line->p[line->n - 1] != '}') return 0;
    ptrdiff_t brace = slice_find_last(*line, '{');
    return brace < 0 ? 0 : connection_skip(s->connection, (size_t)number_of(slice_skip(*line, (size_t)brace + 1)));
}

static void take_untagged(struct imap *s, struct slice line) {
    struct slice rest = slice_skip(line, 2);
    ptrdiff_t space = slice_find(rest, ' ');
    if (space > 0 && slice_is_nocase(slice_skip(rest, (size_t)space + 1), "EXISTS")) s->exists = number_of(rest);
    ptrdiff_t bracket = slice_find(rest, '(');
    if (slice_starts_nocase(rest, SLICE("STATUS ")) && bracket > 0)
        s->messages = number_of(slice_skip(rest, (size_t)bracket + sizeof "(MESSAGES " - 1));
}

int imap_command(struct imap *s, const char *format, ...) {
    char text[COMMAND_BYTES], tag[NUMBER_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    int length = snprintf(tag, sizeof tag, "a%d ", ++s->tag);
    struct slice line;
    if (connection_printf(s->connection, "%s%s\r\n", tag, text)) return -1;
    while (!line_of(s, &line)) {
        if (slice_starts(line, (struct slice){tag, (size_t)length})) {
            struct slice rest = slice_skip(line, (size_t)length);
            if (slice_starts_nocase(rest, SLICE("OK"))) return 0;
            fprintf(stderr, "drive: %.20s: %.*s\n", text, SLICE_FMT(rest));
            return -1;
        }
        if (line.n > 2 && *line.p == '*') take_untagged(s, line);
    }
    return -1;
}

int imap_open(struct imap *s, const struct drive *d, int user) {
    char name[COMMAND_BYTES / 2];
    struct slice line;
    *s = (struct imap){.connection = connection_open(&d->imap, d->imap_tls)};
    drive_address(name, sizeof name, d->user, user);
    if (s->connection && !connection_line(s->connection, &line) && slice_starts(line, SLICE("* OK")) &&
        !imap_command(s, "LOGIN \"%s\" \"%s\"", name, d->password))
        return 0;
    connection_close(s->connection);
    s->connection = NULL;
    return -1;
}

long imap_count(struct imap *s) {
    s->messages = -1;
    return imap_command(s, "STATUS INBOX (MESSAGES)") ? -1 : s->messages;
}

int imap_purge(struct imap *s) {
    if (imap_command(s, "SELECT INBOX")) return -1;
    if (s->exists && (imap_command(s, "STORE 1:* +FLAGS.SILENT (\\Deleted)") || imap_command(s, "EXPUNGE"))) return -1;
    return imap_command(s, "CLOSE");
}

int imap_idle(struct imap *s) {
    struct slice line;
    if (connection_printf(s->connection, "a%d IDLE\r\n", ++s->tag)) return -1;
    do {
        if (connection_line(s->connection, &line)) return -1;
    } while (!line.n || *line.p != '+');
    return 0;
}

int imap_await_exists(struct imap *s) {
    struct slice line;
    long before = s->exists;
    while (!connection_line(s->connection, &line)) {
        if (line.n > 2 && *line.p == '*') take_untagged(s, line);
        if (s->exists > before) return 0;
    }
    return -1;
}

void imap_close(struct imap *s) {
    if (s->connection && !imap_command(s, "LOGOUT")) connection_close(s->connection);
    s->connection = NULL;
}
