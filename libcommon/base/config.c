#include "libcommon/base/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/log.h"

enum { SECRET_MAX_BYTES = 64 * 1024, EXIT_CONFIG = 78 };

_Noreturn void config_refuse(const char *name, const char *what) {
    log_error("the configuration is wrong", "setting", name, "reason", what, NULL);
    exit(EXIT_CONFIG);
}

const char *config_text(const char *name, const char *fallback) {
    const char *value = getenv(name);
    if (value && *value) return value;
    if (!fallback) config_refuse(name, "it is not set, and there is no default: set it in the environment");
    return fallback;
}

int64_t config_number(const char *name, int64_t fallback, int64_t min, int64_t max) {
    const char *value = getenv(name);
    if (!value || !*value) return fallback;
    char *end;
    long long n = strtoll(value, &end, 10);
    if (*end || n < min || n > max) {
        char why[160];
        snprintf(why, sizeof why, "\"%.40s\" is not a whole number from %lld to %lld", value, (long long)min,
                 (long long)max);
        config_refuse(name, why);
    }
    return n;
}

int64_t config_seconds(const char *name, const char *fallback, int64_t min, int64_t max) {
    static const char units[] = "smhd";
    static const int64_t seconds[] = {1, 60, 3600, 86400};
    struct slice text = slice_of(config_text(name, fallback));
    const char *unit = text.n > 1 ? memchr(units, text.p[text.n - 1], 4) : NULL;
    uint64_t n = 0;
    bool good = slice_is(text, "0") || (unit && slice_to_u64(slice_head(text, text.n - 1), 1000000000, &n) == 0);
    int64_t value = unit ? (int64_t)n * seconds[unit - units] : 0;
    if (good && value >= min && value <= max) return value;
    char why[200];
    snprintf(why, sizeof why, "\"%.40s\" is not a time from %lld to %lld seconds, such as 30s, 5m, 12h or 180d", text.p,
             (long long)min, (long long)max);
    config_refuse(name, why);
}

bool config_flag(const char *name, bool fallback) {
    struct slice value = slice_of(getenv(name));
    if (!value.n) return fallback;
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};
    for (int i = 0; i < 4; i++) {
        if (slice_is_nocase(value, yes[i])) return true;
        if (slice_is_nocase(value, no[i])) return false;
    }
    config_refuse(name, "expected true or false");
}

const char *config_secret_path(const char *name, char out[512]) {
    snprintf(out, 512, "%s/%s", config_text("POSTBUS_SECRETS", "/run/secrets/postbus"), name);
    return out;
}

char *config_secret(const char *name, bool required) {
    char path[512];
    FILE *f = fopen(config_secret_path(name, path), "re");
    if (!f) {
        if (required)
            config_refuse(path, "this secret file is missing or cannot be read: run the setup step, which makes what "
                                "is missing, or put the file there");
        return NULL;
    }
    char *text = memory_alloc(SECRET_MAX_BYTES + 1);
    size_t n = fread(text, 1, SECRET_MAX_BYTES, f);
    fclose(f);
    while (n && strchr(" \t\r\n", text[n - 1])) n--;
    text[n] = 0;
    return text;
}
