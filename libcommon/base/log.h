/* Structured logs on standard error: one JSON object on each line, with the service's name and the
 * pairs that the caller gives.
 *
 *   log_info("message accepted", "id", id, "from", from, NULL);
 *   log_warn("cannot reach redis", "address", a, "reason", why, NULL);
 *
 * Pairs are name and text (C strings; a pair with a NULL text is left out), ended by NULL. Bytes
 * that are not UTF-8 are escaped. A line holds at most 8 KiB. Passwords and bodies are never
 * logged. Safe on any thread. */
#ifndef POSTBUS_BASE_LOG_H
#define POSTBUS_BASE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Called once at the start of a service. level: "debug", "info", "warn" or "error". */
void log_init(const char *service, const char *level);
void log_write(enum log_level level, const char *text, ...) __attribute__((sentinel));
int log_level_enabled(enum log_level level);

#define log_debug(...) (log_level_enabled(LOG_DEBUG) ? log_write(LOG_DEBUG, __VA_ARGS__) : (void)0)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

#endif
