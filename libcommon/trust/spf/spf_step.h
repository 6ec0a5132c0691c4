/* The end of an evaluation by an error, and the explanation of its steps. */
#ifndef POSTBUS_TRUST_SPF_STEP_H
#define POSTBUS_TRUST_SPF_STEP_H

#include "libcommon/trust/spf/spf_run.h"

enum {
    SPF_TERM_SHOWN_MAX = 200,
    SPF_RECORD_SHOWN_MAX = 600,
    SPF_NAME_SHOWN_MAX = 255
}; /* bytes of a record or name that are quoted in an explanation */
#define SPF_TOO_LATE "DNS took longer than a check may (RFC 7208 section 4.6.4)"
#define SPF_TOO_MANY_TERMS "more than ten terms ask DNS (RFC 7208 section 4.6.4)"

/* Ends the evaluation with a permerror or temperror; reason must be printable. */
enum spf_step spf_wrong(struct spf_run *r, const char *reason);
enum spf_step spf_unsure(struct spf_run *r, const char *reason);
/* Adds a line of explanation when it is requested; otherwise its arguments are not evaluated. */
#define spf_step(r, ...)                                                                                               \
    do {                                                                                                               \
        if ((r)->query->explain) spf_step_add((r), __VA_ARGS__);                                                       \
    } while (0)
void spf_step_add(struct spf_run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* At most `max` bytes of s as printable ASCII. */
const char *spf_printable(struct arena *arena, struct slice s, size_t max);
/* "192.0.2.1, 192.0.2.2" of the first addresses of an answer. */
const char *spf_addresses_text(struct spf_run *r, const struct trust_answer *a);

#endif
