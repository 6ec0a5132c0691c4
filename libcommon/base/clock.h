/* Time: wall time for people and protocols, monotonic time for durations. */
#ifndef POSTBUS_BASE_CLOCK_H
#define POSTBUS_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_wall_ms(void);      /* milliseconds since 1970, UTC */
int64_t clock_monotonic_us(void); /* microseconds since some start */

enum { CLOCK_TEXT_BYTES = 40 };
/* "2026-11-24T09:41:17.123Z" (RFC 3339) */
const char *clock_rfc3339(int64_t wall_ms, char out[CLOCK_TEXT_BYTES]);
/* "Tue, 24 Nov 2026 09:41:17 +0000" (RFC 5322 §3.3), in the machine's zone */
const char *clock_rfc5322(int64_t wall_ms, char out[CLOCK_TEXT_BYTES]);

#endif
