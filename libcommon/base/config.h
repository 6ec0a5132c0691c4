/* Settings come from the environment (POSTBUS_*), secrets from files in the directory
 * POSTBUS_SECRETS (default /run/secrets/postbus). The names are the same in Compose and Kubernetes;
 * ARCHITECTURE.md describes each. They are read at start-up. A setting that is missing or wrong
 * ends the process with a log line that names the setting, the value found and the values
 * expected. */
#ifndef POSTBUS_BASE_CONFIG_H
#define POSTBUS_BASE_CONFIG_H

#include "libcommon/base/slice.h"

/* The setting's text, or fallback when it is not set or empty. fallback NULL: it must be set. */
const char *config_text(const char *name, const char *fallback);
/* A number from min to max. */
int64_t config_number(const char *name, int64_t fallback, int64_t min, int64_t max);
/* A time from min to max, in seconds: "30s", "5m", "12h", "180d", or "0". fallback has the same
 * form. */
int64_t config_seconds(const char *name, const char *fallback, int64_t min, int64_t max);
/* true, yes, on, 1 / false, no, off, 0 */
bool config_flag(const char *name, bool fallback);
/* The content of the secret file `name`, without white space at its end; NULL when there is no such
 * file and it is not required. The caller frees it. At most 64 KiB. */
char *config_secret(const char *name, bool required);
/* The path of the secret file `name` in out. */
const char *config_secret_path(const char *name, char out[512]);
/* Ends the process with status 78 after logging what is wrong with a setting and what to do. */
_Noreturn void config_refuse(const char *name, const char *what);

#endif
