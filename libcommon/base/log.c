#include "libcommon/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/slice.h"

enum { LINE_BYTES = 8192 };

static struct {
    char service[32];
    enum log_level level;
} settings = {"postbus", LOG_INFO}; /* written once, before any thread starts */

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_init(const char *service, const char *level) {
    snprintf(settings.service, sizeof settings.service, "%s", service);
    for (int i = 0; i < 4; i++)
        if (level && strcmp(level, level_names[i]) == 0) settings.level = (enum log_level)i;
}

int log_level_enabled(enum log_level level) { return level >= settings.level; }

/* The length of the UTF-8 sequence at s, or 0 when it is not one. */
static size_t utf8_length(const unsigned char *s) {
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return n;
}

static size_t add_json(char *line, size_t at, const char *text) {
    const unsigned char *s = (const unsigned char *)text;
    while (*s && at < LINE_BYTES - 16) {
        size_t n = utf8_length(s);
        if (*s == '"' || *s == '\\') {
            line[at++] = '\\';
            line[at++] = (char)*s++;
        } else if (*s < 0x20 || n == 0 || *s == 0x7f) {
            at += (size_t)snprintf(line + at, 8, "\\u%04x", (unsigned)*s++);
        } else {
            memcpy(line + at, s, n);
            at += n;
            s += n;
        }
    }
    return at;
}

static size_t add_pair(char *line, size_t at, const char *name, const char *text) {
    if (at > LINE_BYTES - 64 - strlen(name)) return at;
    at += (size_t)snprintf(line + at, LINE_BYTES - at, ",\"%s\":\"", name);
    at = add_json(line, at, text);
    line[at++] = '"';
    return at;
}

void log_write(enum log_level level, const char *text, ...) {
    if (!log_level_enabled(level)) return;
    char line[LINE_BYTES + 64], when[CLOCK_TEXT_BYTES];
    size_t at = (size_t)snprintf(line, LINE_BYTES, "{\"time\":\"%s\",\"level\":\"%s\",\"service\":\"%s\"",
                                 clock_rfc3339(clock_wall_ms(), when), level_names[level], settings.service);
    at = add_pair(line, at, "msg", text);
    va_list ap;
    va_start(ap, text);
    const char *name;
    while ((name = va_arg(ap, const char *))) {
        const char *value = va_arg(ap, const char *);
        if (value) at = add_pair(line, at, name, value);
    }
    va_end(ap);
    line[at++] = '}';
    line[at++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, at);
    (void)written;
}
